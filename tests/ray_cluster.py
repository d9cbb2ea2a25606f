"""A Ray cluster of this machine: a head without processors, and two workers with one each.

Says its address, and ends with its standard input. "worker" there ends a worker, and "head" what
all others need of the head, both as a machine does that loses its power."""
import sys

import psutil
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
workers = [cluster.add_node(num_cpus=1) for _ in range(2)]
print(cluster.address, flush=True)
for line in sys.stdin:
    if line.strip() == "worker": cluster.remove_node(workers.pop(), allow_graceful=False)
    if line.strip() == "head":
        for process in psutil.Process().children(recursive=True):
            if process.name().startswith("gcs_server"): process.kill()
cluster.shutdown()
