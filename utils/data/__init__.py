"""The VOC folder: its lists, masks, class weights, augmentation, and the dataset of a training."""
