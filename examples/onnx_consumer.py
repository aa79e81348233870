"""A program with numpy and onnxruntime only: keypoints to poses, by a file that ``python -m ites_fast.export`` wrote.

    python -m ites_fast.export --onnx lifter.onnx --skeleton coco_17
    python examples/onnx_consumer.py lifter.onnx keypoints.npy 1920 1080

keypoints.npy holds x, y in pixels and confidence (N, J, 3). Poses are printed and saved as poses.npz.
"""

import json
import sys

import numpy as np
import onnxruntime

model, keypoints, width, height = sys.argv[1:]
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
joint_names = json.loads(session.get_modelmeta().custom_metadata_map["joint_names"])

keypoints = np.load(keypoints).astype(np.float32)
focal = max(float(width), float(height))  # a guess; the camera's own focal length is better
camera = np.array([focal, focal, float(width) / 2, float(height) / 2], np.float32)

positions, translation, confidence = session.run(None, {"keypoints": keypoints, "camera": camera})
print(f"{len(positions)} poses, root-relative, x right, y down, z forward, in body units of about 0.72 m")
for name, joint, certain in zip(joint_names, positions[0], confidence[0], strict=True):
    print(f"{name:15} {joint[0]:7.3f} {joint[1]:7.3f} {joint[2]:7.3f}  confidence {certain:.2f}")
np.savez("poses.npz", positions=positions, translation=translation, confidence=confidence)
