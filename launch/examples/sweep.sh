python -P -m resnet.train --config=cifar10_resnet20 --data_dir=/data --config.schedule.peak=0.1 --config.seed=0 --workdir=/runs/peaks/peak=0.1_seed=0
python -P -m resnet.train --config=cifar10_resnet20 --data_dir=/data --config.schedule.peak=0.1 --config.seed=1 --workdir=/runs/peaks/peak=0.1_seed=1
python -P -m resnet.train --config=cifar10_resnet20 --data_dir=/data --config.schedule.peak=0.2 --config.seed=0 --workdir=/runs/peaks/peak=0.2_seed=0
python -P -m resnet.train --config=cifar10_resnet20 --data_dir=/data --config.schedule.peak=0.2 --config.seed=1 --workdir=/runs/peaks/peak=0.2_seed=1
