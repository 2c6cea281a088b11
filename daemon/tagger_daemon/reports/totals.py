"""What a run came to: how each stage went, and how many photos ended in which way.

Pure: records go in one after another and are not kept.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tagger_daemon.model import Outcome, Record, Stage


@dataclass(kw_only=True, slots=True)
class StageTotals:
    """How one stage went."""

    ok: int = 0  # photos with a usable answer
    failed: int = 0  # photos that were given up for want of one
    retried: int = 0  # requests beyond the first, of those with an answer
    seconds: float = 0.0  # from request to usable answer, second requests included, of all photos together
    prompt_tokens: int = 0  # as the servers counted them; where none does, 0
    completion_tokens: int = 0

    @property
    def asked(self) -> int:
        """Photos that this stage was asked about."""
        return self.ok + self.failed


@dataclass(kw_only=True, slots=True)
class Totals:
    """What many records come to."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    stages: dict[Stage, StageTotals] = field(
        default_factory=lambda: {stage: StageTotals() for stage in Stage}
    )

    def add(self, record: Record) -> None:
        """Take one more record in; answers that were still good from before were not asked for."""
        self.outcomes[record.outcome] += 1
        for stage in Stage:
            if stage.value not in record.seconds:
                continue
            totals, origin = self.stages[stage], record.origins.get(stage)
            if origin is None:
                totals.failed += record.outcome is Outcome.FAILED
                continue
            totals.ok += 1
            totals.retried += origin.attempts - 1
            totals.seconds += origin.seconds
            totals.prompt_tokens += origin.prompt_tokens or 0
            totals.completion_tokens += origin.completion_tokens or 0

    @property
    def photos(self) -> int:
        """All that were worked on."""
        return self.outcomes.total()
