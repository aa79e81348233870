"""What detectors write: readers of their files, one a format, and people followed from frame to frame."""

from ites_fast.detections.loading import read_detections, recognised_format
from ites_fast.detections.tracking import Tracker, follow
from ites_fast.detections.tracks import Detections, Track

__all__ = ["Detections", "Track", "Tracker", "follow", "read_detections", "recognised_format"]
