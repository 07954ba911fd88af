//! Hands behind the controller's back: each change is found at the right address and field, and mended by one apply.

use crate::setting::{World, local_spec, plan, settle, writes};
use aws_sdk_ec2::types::{IpPermission, IpRange};
use controller::{aws::View, engine::Plan, kinds::subnet::Subnet, reconcile::Connection};

fn fields(plan: &Plan) -> Vec<String> {
    plan.steps
        .iter()
        .filter(|s| s.action.writes())
        .flat_map(|s| {
            let changes = s.action.changes();
            if changes.is_empty() {
                vec![format!("{} {}", s.action.word(), s.address)]
            } else {
                changes.iter().map(|c| format!("{} {}", s.address, c.field)).collect()
            }
        })
        .collect()
}

fn id(plan: &Plan, address: &str) -> String {
    plan.found.iter().find(|f| f.address.to_string() == address).unwrap_or_else(|| panic!("no {address}")).id.clone()
}

/// Finds exactly this, mends it, and is content.
async fn found_and_mended(c: &Connection, expected: &[&str]) {
    let seen = plan(c).await;
    assert_eq!(fields(&seen), expected, "{seen}");
    settle(c).await;
    assert_eq!(writes(&plan(c).await), Vec::<String>::new());
}

#[tokio::test]
async fn what_hands_change_is_found_and_mended() {
    let world = World::new().await;
    let c = world.converged(local_spec()).await;
    let aws = &c.aws;
    let here = plan(&c).await;
    assert_eq!(writes(&here), Vec::<String>::new());

    // A hole in a security group, while Telegram cannot be reached.
    let group = id(&here, "security_group/balancer");
    let hole = IpPermission::builder()
        .ip_protocol("tcp")
        .from_port(22)
        .to_port(22)
        .ip_ranges(IpRange::builder().cidr_ip("0.0.0.0/0").build())
        .build();
    aws.ec2.authorize_security_group_ingress().group_id(&group).ip_permissions(hole).send().await.unwrap();
    found_and_mended(&c, &[&format!("delete security_group_rule/{group}-in-tcp-22-0.0.0.0/0")]).await;

    // A policy on a role that nobody wished for.
    let role = id(&here, "role/yolo5");
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
    aws.iam.put_role_policy().role_name(&role).policy_name("extra").policy_document(policy).send().await.unwrap();
    found_and_mended(&c, &["role/yolo5 other_policies"]).await;

    // The bucket's policy gone, its versioning off.
    let bucket = id(&here, "bucket/images");
    aws.s3.delete_bucket_policy().bucket(&bucket).send().await.unwrap();
    aws.s3.delete_public_access_block().bucket(&bucket).send().await.unwrap();
    found_and_mended(&c, &["bucket/images private", "bucket/images policy"]).await;

    // A stage of the autoscaler suspended, and a limit moved.
    let fleet = id(&here, "scaling_group/yolo5");
    aws.autoscaling
        .suspend_processes()
        .auto_scaling_group_name(&fleet)
        .scaling_processes("Launch")
        .send()
        .await
        .unwrap();
    aws.autoscaling.update_auto_scaling_group().auto_scaling_group_name(&fleet).max_size(9).send().await.unwrap();
    found_and_mended(&c, &["scaling_group/yolo5 max", "scaling_group/yolo5 suspended"]).await;

    // The size is the autoscaler's own.
    aws.autoscaling.set_desired_capacity().auto_scaling_group_name(&fleet).desired_capacity(2).send().await.unwrap();
    assert_eq!(writes(&plan(&c).await), Vec::<String>::new(), "what the autoscaler does is no drift");

    // A tag of ours removed; a tag of theirs added.
    let vpc = id(&here, "vpc/main");
    let tag = |k: &str, v: &str| aws_sdk_ec2::types::Tag::builder().key(k).value(v).build();
    aws.ec2.create_tags().resources(&vpc).tags(tag("scanner", "yes")).tags(tag("Name", "other")).send().await.unwrap();
    found_and_mended(&c, &["vpc/main tags"]).await;

    // A record deleted, an alarm-free listener weakened.
    let listener = aws
        .elb
        .describe_listeners()
        .load_balancer_arn(
            plan(&c)
                .await
                .found
                .iter()
                .find_map(|f| f.output::<controller::kinds::load_balancer::LoadBalancer>())
                .unwrap()
                .arn
                .0
                .clone(),
        )
        .send()
        .await
        .unwrap();
    let listener = listener.listeners()[0].listener_arn().unwrap();
    aws.elb.modify_listener().listener_arn(listener).ssl_policy("ELBSecurityPolicy-2016-08").send().await.unwrap();
    found_and_mended(&c, &["listener/https tls_policy"]).await;
}

#[tokio::test]
async fn a_secret_changed_there_and_back_is_found_each_time() {
    let world = World::new().await;
    let c = world.converged(local_spec()).await;
    let name = "talo-local-telegram-token";
    let current = async || {
        let got = c.aws.secrets.get_secret_value().secret_id(name).send().await.unwrap();
        got.secret_string.unwrap()
    };
    let ours = current().await;
    for _ in 0..2 {
        c.aws.secrets.put_secret_value().secret_id(name).secret_string("another").send().await.unwrap();
        found_and_mended(&c, &["secret/telegram-token value"]).await;
        assert_eq!(current().await, ours);
    }
}

#[tokio::test]
async fn a_certificate_imported_by_hand_is_found_and_what_depends_on_it_follows() {
    let world = World::new().await;
    let c = world.converged(local_spec()).await;
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec!["elsewhere.example.com".to_owned()]).unwrap().self_signed(&key).unwrap();
    let blob = |text: String| aws_sdk_acm::primitives::Blob::new(text.into_bytes());
    let call = c.aws.acm.import_certificate().certificate_arn(id(&plan(&c).await, "certificate/bot"));
    call.certificate(blob(certificate.pem())).private_key(blob(key.serialize_pem())).send().await.unwrap();

    let seen = plan(&c).await;
    let seen = fields(&seen);
    assert!(
        seen.contains(&"certificate/bot key".to_owned()) && seen.contains(&"certificate/bot host".to_owned()),
        "{seen:?}"
    );
    assert!(seen.contains(&"secret/certificate value".to_owned()), "the public half follows: {seen:?}");
    settle(&c).await;
    assert_eq!(writes(&plan(&c).await), Vec::<String>::new());
}

#[tokio::test]
async fn a_zone_that_fails_moves_no_subnet_neither_then_nor_when_it_is_back() {
    let world = World::new().await;
    world.aws.switch("failed_zones", serde_json::json!(["us-east-1a"])).await.unwrap();
    let c = world.converged(local_spec()).await;
    let zones = Subnet::zones(&View::new(&c.aws)).await.unwrap();
    assert_eq!(zones.into_values().collect::<Vec<_>>(), ["us-east-1b", "us-east-1c"]);
    for failed in [vec![], vec!["us-east-1b", "us-east-1c"]] {
        world.aws.switch("failed_zones", serde_json::json!(failed)).await.unwrap();
        assert_eq!(writes(&plan(&c).await), Vec::<String>::new(), "{failed:?}");
    }
    // One more goes into the first zone that is free.
    world.aws.switch("failed_zones", serde_json::json!([])).await.unwrap();
    let mut wider = local_spec();
    wider.spec.network.zones = 3;
    let c = world.connect(wider).await;
    settle(&c).await;
    let zones = Subnet::zones(&View::new(&c.aws)).await.unwrap();
    assert_eq!(zones.into_values().collect::<Vec<_>>(), ["us-east-1b", "us-east-1c", "us-east-1a"]);
}

#[tokio::test]
async fn a_plan_of_a_converged_stack_makes_few_calls_which_only_read_and_do_not_grow_with_the_fleet() {
    let world = World::new().await;
    let c = world.converged(local_spec()).await;
    let before = plan(&c).await.to_string();
    world.aws.calls().await.unwrap();
    assert_eq!(plan(&c).await.to_string(), before);
    let calls = world.aws.calls().await.unwrap();
    let writes: Vec<_> = calls.iter().filter(|call| !local::aws::reads(call)).collect();
    assert_eq!(writes, Vec::<&String>::new());
    assert!(calls.len() <= 91, "{} calls: {calls:?}", calls.len());

    // More instances, images and objects: no more calls.
    let bucket = &c.aws.known.bucket;
    for n in 0..20 {
        let key = format!("images/1/{n}.jpg");
        c.aws.s3.put_object().bucket(bucket).key(key).body(vec![0].into()).send().await.unwrap();
    }
    for tag in ["v2.0.0", "v2.0.1", "v2.0.2"] {
        world.push_images(&c, tag).await;
    }
    let fleet = c.aws.autoscaling.set_desired_capacity().auto_scaling_group_name("talo-local-yolo5");
    fleet.desired_capacity(3).send().await.unwrap();
    world.aws.calls().await.unwrap();
    plan(&c).await;
    assert_eq!(world.aws.calls().await.unwrap().len(), calls.len());
}
