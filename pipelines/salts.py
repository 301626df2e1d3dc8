"""One salt for each use of random numbers.

Two uses with the same salt would draw the same numbers for an example and be
correlated: a picture cropped at the left would always be the brighter one.
"""
CROP_AND_FLIP = 1
RANDOM_CROP = 2
COLOR = 3
POLICY = 4
CUTOUT = 5
ERASING = 6
MIXING = 7
VERTICAL_FLIP = 8
SHIFT = 9
GRAYSCALE = 10
BLUR = 11
MIX_PROBABILITY = 12
SYNTHETIC = 13
DROPOUT = 1000  # This and higher numbers: one for each layer.
STOCHASTIC_DEPTH = 2000  # This and higher numbers: one for each block.
