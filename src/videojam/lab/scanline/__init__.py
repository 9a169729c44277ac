"""The scanline world: captioned clips one pixel high, their exact motion, and a judge from pixels.

A wind tunnel. A clip of it is small enough that one core trains a video model on it from nothing
in an hour, so that a question about the method can be asked with controls and with several
training seeds. clips.py draws clips, judge.py says how well any clip keeps the world's laws.
"""
