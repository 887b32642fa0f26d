"""Every setting of the job that changes which version is served, with its default and its meaning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from wals_spark.errors import ConfigError
from wals_spark.settings.loader import Flag, Section, Settings
from wals_spark.settings.run import Lease
from wals_spark.settings.tables import EMPTY_OR_VERSION, StoredModel
from wals_spark.settings.training import SERVED


class PublishOptions(Section, frozen=True, kw_only=True):
    """What is done: model.version is served, or one of these."""

    rollback: Annotated[bool, Meta(description="Serve the version that was served before the one that is.")] = False
    to: Annotated[
        str,
        Meta(description="With rollback: which version that was served before.", pattern=EMPTY_OR_VERSION),
    ] = ""
    verify: Annotated[
        str,
        Meta(
            description=(
                f"Compare the files of a version (its name, or {SERVED}) with its manifest, byte for byte, and no more."
            ),
            pattern=EMPTY_OR_VERSION,
        ),
    ] = ""
    force: Annotated[bool, Meta(description="Serve model.version though the gate refused it, or never saw it.")] = False
    why: Annotated[str, Meta(description="The reason, for the history; needed with force.")] = ""


class PublishSettings(Settings, frozen=True, kw_only=True):
    """All settings of publishing."""

    flags: ClassVar[Mapping[str, Flag]] = {
        "--version": Flag("model.version", takes="V"),
        "--rollback": Flag("publish.rollback"),
        "--to": Flag("publish.to", takes="V"),
        "--verify": Flag("publish.verify", takes="V", bare=SERVED),
        "--force": Flag("publish.force"),
        "--why": Flag("publish.why", takes="REASON"),
    }

    model: StoredModel = StoredModel()
    publish: PublishOptions = PublishOptions()
    lease: Lease = Lease()

    def check_together(self, set_values: dict[str, Any]) -> None:  # noqa: ARG002
        """Refuse none, or several, of what can be done."""
        options = self.publish
        wanted = [bool(self.model.version), options.rollback, bool(options.verify)]
        if sum(wanted) != 1:
            raise ConfigError("one of --version V, --rollback and --verify [V] is needed: what is to be done?")
        if options.to and not options.rollback:
            raise ConfigError("publish.to is for publish.rollback; to serve another version, set model.version")
        if options.force and not (self.model.version and options.why):
            raise ConfigError("publish.force needs model.version and publish.why: which version, and for what reason?")

    def require_paths(self) -> None:
        """Refuse a job without a model."""
        self.model.require_path()
