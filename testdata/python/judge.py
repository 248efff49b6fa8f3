"""boto3 drives a Corbel server, whose address is the argument. Exit status 0
when everything is as the service has it."""

import datetime
import sys
import time

import boto3
from botocore.exceptions import ClientError

url = sys.argv[1]
codebuild = boto3.client("codebuild", endpoint_url=url)
logs = boto3.client("logs", endpoint_url=url)
account = boto3.client("sts", endpoint_url=url).get_caller_identity()["Account"]


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as e:
        assert e.response["Error"]["Code"] == code, e
        return e.response["Error"]["Message"]
    raise AssertionError(f"{call} was not refused")


# Source credentials, by the guide.
arn = codebuild.import_source_credentials(serverType="BITBUCKET", authType="BASIC_AUTH", username="bob", token="ATBBappPassword0123456789")["arn"]
assert arn == f"arn:aws:codebuild:us-east-1:{account}:token/bitbucket", arn
infos = codebuild.list_source_credentials()["sourceCredentialsInfos"]
assert infos == [{"arn": arn, "serverType": "BITBUCKET", "authType": "BASIC_AUTH"}], infos
refused("ResourceAlreadyExistsException", codebuild.import_source_credentials, serverType="BITBUCKET", authType="PERSONAL_ACCESS_TOKEN", token="x", shouldOverwrite=False)
refused("InvalidInputException", codebuild.import_source_credentials, serverType="GITHUB", authType="OAUTH", token="x")
assert codebuild.delete_source_credentials(arn=arn)["arn"] == arn
refused("ResourceNotFoundException", codebuild.delete_source_credentials, arn=arn)

# A project and a build.
project = codebuild.create_project(
    name="app",
    source={"type": "NO_SOURCE", "buildspec": "version: 0.2\nphases:\n  build:\n    commands: [echo seen by boto3]\n"},
    artifacts={"type": "NO_ARTIFACTS"},
    environment={"type": "LINUX_CONTAINER", "image": "host", "computeType": "BUILD_GENERAL1_SMALL"},
    serviceRole=f"arn:aws:iam::{account}:role/x",
)["project"]
assert project["timeoutInMinutes"] == 60 and project["badge"] == {"badgeEnabled": False}, project
refused("ResourceAlreadyExistsException", codebuild.create_project, **{k: project[k] for k in ("name", "source", "artifacts", "environment", "serviceRole")})
build = codebuild.start_build(projectName="app")["build"]
assert abs(build["startTime"] - datetime.datetime.now(datetime.timezone.utc)) < datetime.timedelta(minutes=1), build["startTime"]
for _ in range(400):
    build = codebuild.batch_get_builds(ids=[build["id"]])["builds"][0]
    if build["buildComplete"]:
        break
    time.sleep(0.05)
assert build["buildStatus"] == "SUCCEEDED", build
events = logs.get_log_events(logGroupName=build["logs"]["groupName"], logStreamName=build["logs"]["streamName"], startFromHead=True)["events"]
assert "seen by boto3\n" in [e["message"] for e in events], events
assert codebuild.list_builds_for_project(projectName="app")["ids"] == [build["id"]]
pages = logs.get_paginator("filter_log_events").paginate(logGroupName=build["logs"]["groupName"], PaginationConfig={"PageSize": 3})
assert len([e for p in pages for e in p["events"]]) == len(events)
assert codebuild.stop_build(id=build["id"])["build"]["buildStatus"] == "SUCCEEDED"
assert "does not exist" in refused("ResourceNotFoundException", codebuild.stop_build, id="app:00000000-0000-4000-8000-000000000000")
codebuild.delete_project(name=project["arn"])
assert codebuild.batch_get_projects(names=["app"])["projectsNotFound"] == ["app"]
