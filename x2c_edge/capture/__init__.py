"""Sources of frames: camera, GStreamer pipeline, video file, image, folder of images."""
