"""Values of one's own to safe bytes: python values_to_robot.py udp://192.168.1.20 (nods for three seconds)"""

import math
import sys
import time

import x2c_edge

pitch = x2c_edge.NAMES.index("Head Pitch")
with x2c_edge.RobotOutput(sys.argv[1]) as robot:
    begun = time.monotonic()
    while (t := time.monotonic() - begun) < 3:
        pose = x2c_edge.NEUTRAL.copy()
        pose[pitch] += 0.1 * math.sin(2 * math.pi * t)
        robot.show(pose)
        time.sleep(1 / 60)
