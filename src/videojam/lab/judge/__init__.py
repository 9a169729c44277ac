"""Exact judgement of generated Motion Lab clips, from pixels alone; see docs/lab_metrics.md."""

from videojam.lab.judge.judge import Judgement as Judgement
from videojam.lab.judge.judge import judge as judge
