"""Pipelines of known transformers that prepare, train and generate refuse, and why."""

NOT_DRIVEN: dict[str, str] = {
    **dict.fromkeys(
        (
            "Kandinsky5I2VPipeline",
            "MotifVideoImage2VideoPipeline",
            "SanaImageToVideoPipeline",
            "Cosmos2VideoToWorldPipeline",
            "Cosmos2_5_PredictBasePipeline",
        ),
        "how it puts an image into latents of C channels is not known for those of 2C yet",
    ),
    "LTXConditionPipeline": (
        "load the same weights as an LTXPipeline, which takes an image here, too"
    ),
    "LTX2ConditionPipeline": (
        "load the same weights as an LTX2Pipeline, which takes an image here, too"
    ),
}
