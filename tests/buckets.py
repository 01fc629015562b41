"""A bucket of moto's server on this machine; all servers of a process share what they hold."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from moto.moto_server.threaded_moto_server import ThreadedMotoServer
from s3fs import S3FileSystem


@dataclass(frozen=True)
class Bucket:
    """A bucket, and what a process needs to find it."""

    name: str
    variables: dict[str, str]

    @property
    def url(self) -> str:
        return f"s3://{self.name}"

    def client(self) -> Any:
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        return boto3.client("s3", endpoint_url=self.variables["AWS_ENDPOINT_URL"], region_name="us-east-1", **keys)

    def keys(self, prefix: str = "") -> list[str]:
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def read(self, key: str) -> str:
        return self.client().get_object(Bucket=self.name, Key=key)["Body"].read().decode()

    def put(self, folder: Path, prefix: str) -> str:
        """Upload the files of a folder and return where they are."""
        client = self.client()
        for path in folder.rglob("*.*"):
            client.upload_file(str(path), self.name, f"{prefix}/{path.relative_to(folder).as_posix()}")
        return f"{self.url}/{prefix}"


@contextmanager
def serve_bucket(name: str) -> Iterator[Bucket]:
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # a line for each request
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    made = Bucket(
        name,
        {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        },
    )
    made.client().create_bucket(Bucket=name)
    S3FileSystem.clear_instance_cache()  # of another server, which the variables named before
    try:
        yield made
    finally:
        S3FileSystem.clear_instance_cache()
        server.stop()
