"""YOLO-Mask on Darknet: instance segmentation with a YOLO detector and a RoI mask branch."""
