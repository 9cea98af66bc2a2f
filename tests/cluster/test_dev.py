"""What a cluster that crashed left is gone on with, unless its places are another's by now."""

import pytest
from rich.console import Console

from cbs.tools.cluster.dev_cluster import DevCluster
from cbs.tools.cluster.jobs import Jobs
from cbs.tools.local.supervisor import Supervisor

BATCH = """
job "cbs-left" {
  namespace   = "cbs"
  type        = "batch"
  datacenters = ["dc1"]
  group "left" {
    task "left" {
      driver = "raw_exec"
      config { command = "/bin/true" }
    }
  }
}
"""


@pytest.fixture
def left(real):
    """A job, and whether it goes on."""
    job = real.nomad.post("/v1/jobs/parse", {"JobHCL": BATCH, "Canonicalize": True})
    real.nomad.post("/v1/jobs", {"Job": job})
    yield lambda: not real.nomad.get("/v1/job/cbs-left")["Stop"]
    Jobs(nomad=real.nomad, values="").stop(["cbs-left"], 30)


@pytest.mark.parametrize("moved", [False, True])
def test_what_is_at_ports_that_others_took_since_is_stopped_and_all_else_goes_on(real, left, moved):
    supervisor = Supervisor.of(real.folder, Console(quiet=True))
    cluster = DevCluster(folder=real.folder, dist=real.folder.root, supervisor=supervisor)
    if moved:
        cluster.claim_ports()  # the agents have those that the folder remembers
        cluster.release_ports()
    cluster.ports = real.ports

    cluster.stop_left()

    assert left() is not moved
