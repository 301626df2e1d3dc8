"""What the launchers and the trainer must agree on."""

# --strategy of a trainer that is one of several processes.
MULTI_WORKER = 'multi_worker_mirrored'
# TensorFlow's own default; used where each worker has an address of its own.
WORKER_PORT = 2222
# Ports that are chosen here lie from the first to below the last: Linux gives
# those above to outgoing connections.
FIRST_FREE_PORT, END_FREE_PORT = 20000, 32768
# TensorFlow's message, and ours, when a worker's port is in use.
PORT_IN_USE = 'Could not start gRPC server'
# First part of the names of files that the doctor leaves in a run folder; a
# kill may leave one for good.
DOCTOR_MARK = '.doctor-'
# Thread counts that TensorFlow reads. On CPUs other counts give other bits.
THREAD_VARIABLES = ('OMP_NUM_THREADS', 'TF_NUM_INTEROP_THREADS',
                    'TF_NUM_INTRAOP_THREADS')
