"""Pictures of scenes: images, videos and a page with a 3D player."""
