"""What hands do to the demo's stack: push images, break things.

usage: hands.py push TAG | hands.py break
"""

import hashlib
import json
import sys

import boto3

PREFIX = "talo-local"


def push(tag):
    """Stands for `docker push`: an image of each service under a tag."""
    ecr = boto3.client("ecr")
    for service in ("polybot", "yolo5"):
        kind = "application/vnd.oci.image.manifest.v1+json"
        manifest = json.dumps({"schemaVersion": 2, "mediaType": kind, "layers": [], "note": f"{service} {tag}"})
        digest = "sha256:" + hashlib.sha256(manifest.encode()).hexdigest()
        ecr.put_image(repositoryName=f"{PREFIX}-{service}", imageManifest=manifest, imageTag=tag, imageDigest=digest,
                      imageManifestMediaType=kind)
        print(f"pushed {PREFIX}-{service}:{tag} ({digest[:19]}…)")


def break_things():
    ec2 = boto3.client("ec2")
    wanted = [{"Name": "tag:polybot.dev/resource", "Values": ["security_group/balancer"]}]
    group = ec2.describe_security_groups(Filters=wanted)["SecurityGroups"][0]["GroupId"]
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[
        {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}])
    print(f"opened port 22 of {group} to the whole internet")

    boto3.client("iam").put_role_policy(
        RoleName=f"{PREFIX}-yolo5-us-east-1", PolicyName="debug", PolicyDocument=json.dumps(
            {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}))
    print("gave the detector's role every permission there is")

    route53 = boto3.client("route53")
    zone = route53.list_hosted_zones()["HostedZones"][0]["Id"]
    for record in route53.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]:
        if record["Type"] == "A":
            route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={
                "Changes": [{"Action": "DELETE", "ResourceRecordSet": record}]})
            print(f"deleted the record of {record['Name']}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["push"] and len(sys.argv) == 3:
        push(sys.argv[2])
    elif sys.argv[1:] == ["break"]:
        break_things()
    else:
        sys.exit(__doc__)
