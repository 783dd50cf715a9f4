"""A video to the robot's 30 values, one CSV line a frame: python video_to_values.py clip.mp4 > values.csv"""

import sys

import x2c_edge

reader = x2c_edge.FaceReader()
print("seconds", *x2c_edge.NAMES, sep=",")
with x2c_edge.open_source(x2c_edge.SourceSpec(input=sys.argv[1])) as video:
    for frame in video:
        seen = reader.read(frame)
        if seen is not None:
            print(f"{frame.t_capture_ns / 1e9:.3f}", *(f"{value:.4f}" for value in seen.values), sep=",")
