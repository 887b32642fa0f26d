"""What Airflow's DagBag makes of a folder of DAGs, as JSON; run by the Python of an environment that has Airflow."""

from __future__ import annotations

import json
import sys

try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:  # Airflow 2
    from airflow.models import DagBag

bag = DagBag(dag_folder=sys.argv[1])  # without examples by AIRFLOW__CORE__LOAD_EXAMPLES
dags = {name: {task.task_id: sorted(task.upstream_task_ids) for task in dag.tasks} for name, dag in bag.dags.items()}
retries = {name: [task.retries for task in dag.tasks] for name, dag in bag.dags.items()}
print(json.dumps({"errors": bag.import_errors, "dags": dags, "retries": retries}))
