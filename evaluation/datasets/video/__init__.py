"""People cut out of video with true boxes: a benchmark within one camera."""
