"""The `cbs` command: each of its words is one line here, whichever module does the work."""

import typer

from cbs.cluster import nightly
from cbs.cluster.commands import app as cluster
from cbs.dev import dead_letters
from cbs.dev.breaking import chaos, simulate
from cbs.dev.demonstrating import demo
from cbs.dev.keeping import backup, restore
from cbs.dev.measuring import bench, overload, soak
from cbs.dev.running import commands, watching
from cbs.dev.verifying import verify
from cbs.images import commands as images
from cbs.release import builds, contracts, publishing, review
from cbs.release.commands import app as release
from cbs.release.deploying import commands as deploying
from cbs.release.deploying import telling

app = typer.Typer(
    name="cbs",
    help="A bank on this machine. Exit codes: 0 done, 1 no, 2 wrong usage, 3 cannot say.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("up")(commands.up)
app.command("down")(commands.down)
app.command("status")(watching.status)
app.command("logs")(watching.logs)
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
cluster.command("run")(nightly.run)
release.command("review")(review.review)
release.command("deploy")(deploying.deploy)
release.command("rollback")(deploying.rollback)
release.command("history")(telling.history)
release.command("diff")(telling.diff)
release.command("dora")(telling.metrics)
release.command("publish")(publishing.publish)
contracts.app.command("verify")(builds.verify)
contracts.app.command("verify-at", hidden=True)(builds.verify_at)
app.add_typer(cluster, name="cluster")
app.add_typer(contracts.app, name="contracts")
app.add_typer(release, name="release")
app.add_typer(images.app, name="images")
app.add_typer(dead_letters.app, name="dead-letters")
