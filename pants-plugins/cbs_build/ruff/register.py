"""Runs a current ruff: `check` under lint, `check --fix` under fix, `format` under fmt and lint.

The ruff backend that comes with Pants 2.17 calls `ruff FILES`, which ruff has not taken since 0.5,
and has no formatter. This keeps its options, field and config discovery, and replaces its commands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pants.backend.build_files.fmt.base import FmtBuildFilesRequest
from pants.backend.python.lint.ruff import skip_field, subsystem
from pants.backend.python.lint.ruff.subsystem import Ruff, RuffFieldSet
from pants.backend.python.util_rules import pex
from pants.backend.python.util_rules.pex import PexRequest, VenvPex, VenvPexProcess
from pants.core.goals.fix import FixResult, FixTargetsRequest
from pants.core.goals.fmt import FmtResult, FmtTargetsRequest
from pants.core.goals.lint import LintResult, LintTargetsRequest
from pants.core.util_rules.config_files import ConfigFiles, ConfigFilesRequest
from pants.core.util_rules.partitions import PartitionerType
from pants.core.util_rules.source_files import SourceFiles, SourceFilesRequest
from pants.engine.fs import Digest, MergeDigests, Snapshot
from pants.engine.process import FallibleProcessResult
from pants.engine.rules import Get, MultiGet, collect_rules, rule
from pants.util.logging import LogLevel
from pants.util.meta import classproperty
from pants.util.strutil import pluralize


class RuffCheckRequest(LintTargetsRequest):
    field_set_type = RuffFieldSet
    tool_subsystem = Ruff
    partitioner_type = PartitionerType.DEFAULT_SINGLE_PARTITION

    @classproperty
    def tool_name(cls) -> str:
        return "ruff check"


class RuffFixRequest(FixTargetsRequest):
    field_set_type = RuffFieldSet
    tool_subsystem = Ruff
    partitioner_type = PartitionerType.DEFAULT_SINGLE_PARTITION

    @classproperty
    def tool_name(cls) -> str:
        return "ruff check --fix"


class RuffFormatRequest(FmtTargetsRequest):
    field_set_type = RuffFieldSet
    tool_subsystem = Ruff
    partitioner_type = PartitionerType.DEFAULT_SINGLE_PARTITION

    @classproperty
    def tool_name(cls) -> str:
        return "ruff format"


class RuffFormatBuildFilesRequest(FmtBuildFilesRequest):
    tool_subsystem = Ruff

    @classproperty
    def tool_name(cls) -> str:
        return "ruff format (BUILD files)"


@dataclass(frozen=True)
class RunRuff:
    command: tuple[str, ...]
    snapshot: Snapshot


@rule(level=LogLevel.DEBUG)
async def run_ruff(request: RunRuff, ruff: Ruff) -> FallibleProcessResult:
    ruff_pex, config_files = await MultiGet(
        Get(VenvPex, PexRequest, ruff.to_pex_request()),
        Get(ConfigFiles, ConfigFilesRequest, ruff.config_request(request.snapshot.dirs)),
    )
    input_digest = await Get(
        Digest, MergeDigests((request.snapshot.digest, config_files.snapshot.digest))
    )
    description = (
        f"Run ruff {request.command[0]} on {pluralize(len(request.snapshot.files), 'file')}."
    )
    result = await Get(
        FallibleProcessResult,
        VenvPexProcess(
            ruff_pex,
            argv=(
                *request.command,
                "--no-cache",
                *((f"--config={ruff.config}",) if ruff.config else ()),
                *ruff.args,
                *request.snapshot.files,
            ),
            input_digest=input_digest,
            output_files=request.snapshot.files,
            description=description,
            level=LogLevel.DEBUG,
        ),
    )
    # Exit 2 is ruff's own failure (bad option, bad config): never let it pass for "no changes".
    if result.exit_code not in (0, 1):
        raise RuntimeError(f"{description} failed:\n{result.stderr.decode(errors='replace')}")
    return result


@rule(desc="Lint with ruff check", level=LogLevel.DEBUG)
async def ruff_check(request: RuffCheckRequest.Batch[RuffFieldSet, Any]) -> LintResult:
    sources = await Get(SourceFiles, SourceFilesRequest(each.source for each in request.elements))
    result = await Get(FallibleProcessResult, RunRuff(("check",), sources.snapshot))
    return LintResult.create(request, result, strip_chroot_path=True)


@rule(desc="Fix with ruff check --fix", level=LogLevel.DEBUG)
async def ruff_fix(request: RuffFixRequest.Batch) -> FixResult:
    result = await Get(FallibleProcessResult, RunRuff(("check", "--fix"), request.snapshot))
    return await FixResult.create(request, result, strip_chroot_path=True)


@rule(desc="Format with ruff format", level=LogLevel.DEBUG)
async def ruff_format(request: RuffFormatRequest.Batch) -> FmtResult:
    result = await Get(FallibleProcessResult, RunRuff(("format",), request.snapshot))
    return await FmtResult.create(request, result, strip_chroot_path=True)


@rule(desc="Format BUILD files with ruff format", level=LogLevel.DEBUG)
async def ruff_format_build_files(request: RuffFormatBuildFilesRequest.Batch) -> FmtResult:
    result = await Get(FallibleProcessResult, RunRuff(("format",), request.snapshot))
    return await FmtResult.create(request, result, strip_chroot_path=True)


def rules():
    return (
        *collect_rules(),
        *RuffCheckRequest.rules(),
        *RuffFixRequest.rules(),
        *RuffFormatRequest.rules(),
        *RuffFormatBuildFilesRequest.rules(),
        *skip_field.rules(),
        *subsystem.rules(),
        *pex.rules(),
    )
