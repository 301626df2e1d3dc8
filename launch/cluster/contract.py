"""What the launchers and the trainer must agree on."""

# --strategy of a trainer that is one of several processes.
MULTI_WORKER = 'multi_worker_mirrored'
# Of one group. Descriptions of clusters are bounded by it before anything is
# built from them: n[1-999999999] is a slip, not a cluster. As many as a host
# has ports; the largest clusters have fewer GPUs.
MOST_WORKERS = 65_536
MOST_GPUS = 1024  # Of one worker.
# TensorFlow's own default; used where each worker has its own address.
WORKER_PORT = 2222
# The project chooses ports from the first to below the second: Linux uses those
# above for outgoing connections.
FIRST_FREE_PORT, END_FREE_PORT = 20000, 32768
# In TensorFlow's message, and in ours, when a worker's port is in use.
PORT_IN_USE = 'Could not start gRPC server'
# Prefix of the files that the doctor puts in a run folder; if it is killed, one
# may stay there.
DOCTOR_MARK = '.doctor-'
# Thread counts that TensorFlow reads. On CPUs other counts give other bits.
THREAD_VARIABLES = ('OMP_NUM_THREADS', 'TF_NUM_INTEROP_THREADS',
                    'TF_NUM_INTRAOP_THREADS')
