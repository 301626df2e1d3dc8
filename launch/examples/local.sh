# worker 0
CUDA_VISIBLE_DEVICES=-1 \
OMP_NUM_THREADS=1 \
PYTHONUNBUFFERED=1 \
RESNET_RESTART_COUNT=0 \
TF_CONFIG='{"cluster": {"worker": ["127.0.0.1:20000", "127.0.0.1:20001"]}, "task": {"type": "worker", "index": 0}}' \
TF_NUM_INTEROP_THREADS=1 \
TF_NUM_INTRAOP_THREADS=1 \
python -P -m resnet.train --strategy=multi_worker_mirrored --config=cifar10_resnet20 --data_dir=/data --workdir=/runs/r20
# worker 1
CUDA_VISIBLE_DEVICES=-1 \
OMP_NUM_THREADS=1 \
PYTHONUNBUFFERED=1 \
RESNET_RESTART_COUNT=0 \
TF_CONFIG='{"cluster": {"worker": ["127.0.0.1:20000", "127.0.0.1:20001"]}, "task": {"type": "worker", "index": 1}}' \
TF_NUM_INTEROP_THREADS=1 \
TF_NUM_INTRAOP_THREADS=1 \
python -P -m resnet.train --strategy=multi_worker_mirrored --config=cifar10_resnet20 --data_dir=/data --workdir=/runs/r20
