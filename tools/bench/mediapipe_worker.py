"""Run by ``tools.bench.face_mesh`` in MediaPipe's own environment: the seconds that Face Mesh needs.

For every line "CLIP FRAMES" (tab between) on stdin it plays the clip and writes "SECONDS FACES". Only the
look at a picture is timed: not decoding, nor the way from BGR to the RGB that it wants. The argument says how
many frames are looked at before those that count.
"""

import os
import sys
import time

import cv2
import mediapipe as mp

FRAMES_BEFORE = int(sys.argv[1])


def play(clip: str, frames: int) -> tuple[float, int]:
    mesh = mp.solutions.face_mesh.FaceMesh(max_num_faces=1, refine_landmarks=True)
    video = cv2.VideoCapture(clip)
    spent, faces = 0.0, 0
    for number in range(-FRAMES_BEFORE, frames):
        ok, picture = video.read()
        if not ok:
            raise SystemExit(f"{clip}: has too few frames")
        rgb = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        begun = time.perf_counter()
        result = mesh.process(rgb)
        if number >= 0:
            spent += time.perf_counter() - begun
            faces += result.multi_face_landmarks is not None
    mesh.close()
    return spent, faces


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")  # MediaPipe's own lines go elsewhere
    os.dup2(2, 1)
    for line in sys.stdin:
        clip, frames = line.rstrip("\n").split("\t")
        print(*play(clip, int(frames)), file=answers, flush=True)
