"""torchvision's numbers of the convolutions of each block of VGG16, up to the first of the fifth."""

BLOCKS = [[0, 2], [5, 7], [10, 12, 14], [17, 19, 21], [24]]
