"""The `cbs` command: each of its words is one line here, whichever module does the work."""

import typer

from cbs.tools.cluster import run_job
from cbs.tools.cluster.commands import app as cluster
from cbs.tools.images import commands as images
from cbs.tools.lab import simulate
from cbs.tools.lab.bench import bench, overload, soak
from cbs.tools.lab.chaos import chaos
from cbs.tools.lab.demo import demo
from cbs.tools.local import commands, status
from cbs.tools.ops import dead_letters
from cbs.tools.ops.backup import backup, restore
from cbs.tools.ops.verify import verify
from cbs.tools.release import builds, contracts, publish, review
from cbs.tools.release.commands import app as release
from cbs.tools.release.deploy import commands as deploying
from cbs.tools.release.deploy import reports

app = typer.Typer(
    name="cbs",
    help="A bank on this machine. Exit codes: 0 done, 1 no, 2 wrong usage, 3 cannot say.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("up")(commands.up)
app.command("down")(commands.down)
app.command("status")(status.status)
app.command("logs")(status.logs)
app.command("reset")(commands.reset)
app.command("demo")(demo.demo)
app.command("verify")(verify.verify)
app.command("backup")(backup.backup)
app.command("restore")(restore.restore)
app.command("bench")(bench.bench)
app.command("overload")(overload.overload)
app.command("soak")(soak.soak)
app.command("chaos")(chaos.chaos)
app.command("simulate")(simulate.simulate)
cluster.command("run")(run_job.run)
release.command("review")(review.review)
release.command("deploy")(deploying.deploy)
release.command("rollback")(deploying.rollback)
release.command("history")(reports.history)
release.command("diff")(reports.diff)
release.command("dora")(reports.metrics)
release.command("publish")(publish.publish)
contracts.app.command("verify")(builds.verify)
contracts.app.command("verify-at", hidden=True)(builds.verify_at)
app.add_typer(cluster, name="cluster")
app.add_typer(contracts.app, name="contracts")
app.add_typer(release, name="release")
app.add_typer(images.app, name="images")
app.add_typer(dead_letters.app, name="dead-letters")
