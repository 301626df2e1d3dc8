"""The degradation experiment of He et al. 2015, arXiv:1512.03385, on CIFAR-10.

Plain networks of 20 and 56 layers, and the same with shortcuts: four runs. In
the paper (figures 1 and 6), the deeper plain network has the larger training
and test error; with shortcuts, the deeper one has the smaller. One command
trains all four, one after another; the next ones draw their errors.

  python -m launch.sweep --config=tutorials/cifar10_degradation \\
      --sweep=model.shortcut=none,A --sweep=model.depth=20,56 -- --data_dir=DIR
  cd runs/tutorials/cifar10_degradation-sweep
  python -m resnet.report --workdir=$(echo shortcut=* | tr ' ' ,)

A single one, by default the plain network of 20 layers:

  python -m resnet.train --config=tutorials/cifar10_degradation --data_dir=DIR

Everything but the length is as in cifar10_resnet20. The paper's 164 epochs need
a GPU: add --config.train_epochs=0 --config.train_steps=64000 behind the `--`.
These 2 epochs are for two CPU cores. Measured on 2026-11-29 on a JPEG-lossy
copy of CIFAR-10, on 2 cores of an AMD EPYC that other work used too:

                      plain 20  plain 56  residual 20  residual 56
  test accuracy         0.5217    0.2839       0.5839       0.3666
  test loss             1.2855    1.8595       1.1495       1.6885
  training loss         1.3250    1.8930       1.1655       1.7239
  minutes                  7.6      32.1          9.2         30.1

So the deeper plain network is worse, in training and in test, and shortcuts
help at both depths, as in the paper. That the deeper residual network is the
better one does not show yet: 2 epochs are an eightieth of the paper's.
"""
from configs import cifar10_resnet20, schema


def get_config() -> schema.Config:
  config = cifar10_resnet20.get_config()
  config.model.shortcut = 'none'
  config.train_steps, config.train_epochs = 0, 2
  return config
