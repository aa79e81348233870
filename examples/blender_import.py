"""Open a .glb or .bvh of ites_fast in Blender 3.6 or newer: ``blender --python blender_import.py -- walk.glb``."""

import sys
from pathlib import Path

import bpy

path = Path(sys.argv[sys.argv.index("--") + 1]).resolve()
fps = float(sys.argv[sys.argv.index("--") + 2]) if len(sys.argv) > sys.argv.index("--") + 2 else 30.0

bpy.ops.object.select_all(action="SELECT")
bpy.ops.object.delete()
scene = bpy.context.scene
# Before the import, which turns seconds into frames of the scene. Blender has whole frames a second, and a divisor.
scene.render.fps = max(1, round(fps))
scene.render.fps_base = scene.render.fps / fps

if path.suffix.lower() == ".bvh":  # metres, y up
    bpy.ops.import_anim.bvh(filepath=str(path), axis_forward="-Z", axis_up="Y", update_scene_fps=True)
else:
    bpy.ops.import_scene.gltf(filepath=str(path))

actions = [action.frame_range for action in bpy.data.actions]
if actions:
    scene.frame_start = int(min(first for first, _ in actions))
    scene.frame_end = int(max(last for _, last in actions))
bpy.ops.screen.animation_play()
