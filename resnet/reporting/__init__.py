"""What a run leaves behind, as files to look at: see resnet/report.py."""
