"""The parts of benchmark_gpu: each is measured in a process of its own."""
