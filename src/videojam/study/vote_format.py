"""A vote as pages write it, checked before anything else sees it."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

_Word = Annotated[str, StringConstraints(min_length=1, max_length=40)]


class VoteIn(BaseModel):
    """Answers to all questions about one trial."""

    model_config = ConfigDict(extra="forbid", strict=True)
    trial: int = Field(ge=0, lt=100_000)
    answers: dict[_Word, _Word] = Field(min_length=1, max_length=50)
    seconds: float = Field(ge=0, le=1e7, allow_inf_nan=False)
