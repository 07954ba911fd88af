//! A role may do what its policies allow, on the resources they name, and is told in each service's own words what it lacks.

use aws_sdk_s3::{error::ProvideErrorMetadata, primitives::ByteStream};
use local::aws::LocalAws;

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;

async fn allow(aws: &LocalAws, statements: &str) {
    let iam = aws_sdk_iam::Client::new(&aws.config("us-east-1"));
    let document = format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#);
    iam.put_role_policy().role_name("worker").policy_name("all").policy_document(document).send().await.unwrap();
}

fn statement(actions: &str, resource: &str) -> String {
    format!(r#"{{"Effect":"Allow","Action":["{actions}"],"Resource":"{resource}"}}"#)
}

#[tokio::test]
async fn a_role_may_do_what_its_policy_says_and_nothing_beside_it() {
    let aws = LocalAws::start().await.unwrap();
    let all = aws.config("us-east-1");
    let iam = aws_sdk_iam::Client::new(&all);
    iam.create_role().role_name("worker").assume_role_policy_document(TRUST).send().await.unwrap();
    let queue =
        aws_sdk_sqs::Client::new(&all).create_queue().queue_name("jobs").send().await.unwrap().queue_url.unwrap();
    aws_sdk_s3::Client::new(&all).create_bucket().bucket("pictures").send().await.unwrap();
    let secrets = aws_sdk_secretsmanager::Client::new(&all);
    secrets.create_secret().name("token").secret_string("value").send().await.unwrap();

    let role = aws.config_as("worker", "us-east-1").await.unwrap();
    let s3 = {
        let config = aws_sdk_s3::config::Builder::from(&role).force_path_style(true).build();
        aws_sdk_s3::Client::from_conf(config)
    };
    let sqs = aws_sdk_sqs::Client::new(&role);
    let secrets = aws_sdk_secretsmanager::Client::new(&role);
    let dynamodb = aws_sdk_dynamodb::Client::new(&role);

    allow(&aws, &statement("sqs:ReceiveMessage", "arn:aws:sqs:us-east-1:123456789012:jobs")).await;
    sqs.receive_message().queue_url(&queue).send().await.unwrap();
    let refused = sqs.send_message().queue_url(&queue).message_body("x").send().await.unwrap_err();
    assert_eq!(refused.code(), Some("AccessDeniedException"));
    let message = refused.message().unwrap();
    assert!(message.contains("sqs:SendMessage on resource: arn:aws:sqs:us-east-1:123456789012:jobs"), "{message}");
    assert_eq!(dynamodb.get_item().table_name("t").send().await.unwrap_err().code(), Some("AccessDeniedException"));
    let hidden = secrets.get_secret_value().secret_id("token").send().await.unwrap_err();
    assert_eq!(hidden.code(), Some("AccessDeniedException"));

    // On the prefix, and nowhere else; a secret by its ARN with the random end.
    let put = statement("s3:PutObject\",\"s3:GetObject", "arn:aws:s3:::pictures/images/*");
    let read =
        statement("secretsmanager:GetSecretValue", "arn:aws:secretsmanager:us-east-1:123456789012:secret:token-??????");
    allow(&aws, &format!("{put},{read}")).await;
    let body = || ByteStream::from_static(b"x");
    s3.put_object().bucket("pictures").key("images/1").body(body()).send().await.unwrap();
    let refused = s3.put_object().bucket("pictures").key("other/1").body(body()).send().await.unwrap_err();
    assert_eq!(refused.code(), Some("AccessDenied"));
    assert_eq!(secrets.get_secret_value().secret_id("token").send().await.unwrap().secret_string(), Some("value"));

    // S3 tells only who may list that something does not exist.
    let missing = || s3.get_object().bucket("pictures").key("images/none").send();
    assert_eq!(missing().await.unwrap_err().code(), Some("AccessDenied"));
    allow(&aws, &format!("{put},{}", statement("s3:ListBucket", "arn:aws:s3:::pictures"))).await;
    assert_eq!(missing().await.unwrap_err().code(), Some("NoSuchKey"));

    // Versions may be listed under a prefix only, and to delete one is another permission than to delete an object.
    let of_a_prefix = r#"{"Effect":"Allow","Action":"s3:ListBucketVersions","Resource":"arn:aws:s3:::pictures","Condition":{"StringLike":{"s3:prefix":"images/*"}}}"#;
    let delete = async |action: &str| {
        let document = format!("{of_a_prefix},{}", statement(action, "arn:aws:s3:::pictures/images/*"));
        allow(&aws, &document).await;
        let object = aws_sdk_s3::types::ObjectIdentifier::builder().key("images/1").version_id("null").build().unwrap();
        let objects = aws_sdk_s3::types::Delete::builder().objects(object).build().unwrap();
        s3.delete_objects().bucket("pictures").delete(objects).send().await.map(drop)
    };
    assert_eq!(delete("s3:DeleteObject").await.unwrap_err().code(), Some("AccessDenied"));
    let list = |prefix: &str| s3.list_object_versions().bucket("pictures").prefix(prefix).send();
    assert_eq!(list("images/").await.unwrap().versions().len(), 1);
    assert_eq!(list("").await.unwrap_err().code(), Some("AccessDenied"));
    delete("s3:DeleteObjectVersion").await.unwrap();
    assert_eq!(list("images/").await.unwrap().versions().len(), 0);
}

/// Who may remove items of some keys may not remove others in the same call.
#[tokio::test]
async fn keys_bind_whoever_writes_items_in_batches() {
    use aws_sdk_dynamodb::types::{
        AttributeDefinition, AttributeValue, BillingMode, DeleteRequest, KeySchemaElement, KeyType,
        ScalarAttributeType, WriteRequest,
    };
    let aws = LocalAws::start().await.unwrap();
    let all = aws.config("us-east-1");
    let iam = aws_sdk_iam::Client::new(&all);
    iam.create_role().role_name("worker").assume_role_policy_document(TRUST).send().await.unwrap();
    let table =
        aws_sdk_dynamodb::Client::new(&all).create_table().table_name("t").billing_mode(BillingMode::PayPerRequest);
    let id =
        AttributeDefinition::builder().attribute_name("id").attribute_type(ScalarAttributeType::S).build().unwrap();
    let key = KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash).build().unwrap();
    table.attribute_definitions(id).key_schema(key).send().await.unwrap();
    allow(
        &aws,
        r#"{"Effect":"Allow","Action":"dynamodb:BatchWriteItem","Resource":"*","Condition":{"ForAllValues:StringLike":{"dynamodb:LeadingKeys":["test-*"]}}}"#,
    )
    .await;
    let dynamodb = aws_sdk_dynamodb::Client::new(&aws.config_as("worker", "us-east-1").await.unwrap());
    let remove = async |ids: &[&str]| {
        let one = |id: &&str| {
            let delete = DeleteRequest::builder().key("id", AttributeValue::S((*id).to_owned())).build().unwrap();
            WriteRequest::builder().delete_request(delete).build()
        };
        dynamodb.batch_write_item().request_items("t", ids.iter().map(one).collect()).send().await.map(drop)
    };
    remove(&["test-1", "test-2"]).await.unwrap();
    assert_eq!(remove(&["test-1", "7"]).await.unwrap_err().code(), Some("AccessDeniedException"));
}

/// What EC2, Elastic Load Balancing and their like are asked by form fields is on resources, too; and a policy may ask for tags.
#[tokio::test]
async fn names_and_tags_bind_whoever_changes_the_network_and_the_fleets() {
    let aws = LocalAws::start().await.unwrap();
    let all = aws.config("us-east-1");
    let iam = aws_sdk_iam::Client::new(&all);
    iam.create_role().role_name("worker").assume_role_policy_document(TRUST).send().await.unwrap();
    let ours = r#"{"Effect":"Allow","Action":"ec2:*","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/of":"us"}}}"#;
    let topic = statement("sns:CreateTopic", "arn:aws:sns:us-east-1:123456789012:ours-*");
    let role = statement("iam:CreateRole", "arn:aws:iam::123456789012:role/ours/*");
    allow(&aws, &[ours, &topic, &role].join(",")).await;

    let owner = aws_sdk_ec2::Client::new(&all);
    let vpc = owner.create_vpc().cidr_block("10.0.0.0/16").send().await.unwrap().vpc.unwrap().vpc_id.unwrap();
    let worker = aws.config_as("worker", "us-east-1").await.unwrap();
    let ec2 = aws_sdk_ec2::Client::new(&worker);
    let delete = async || ec2.delete_vpc().vpc_id(&vpc).send().await;
    assert_eq!(delete().await.unwrap_err().code(), Some("UnauthorizedOperation"));
    let tag = aws_sdk_ec2::types::Tag::builder().key("of").value("us").build();
    owner.create_tags().resources(&vpc).tags(tag).send().await.unwrap();
    delete().await.unwrap();

    let sns = aws_sdk_sns::Client::new(&worker);
    sns.create_topic().name("ours-1").send().await.unwrap();
    assert!(sns.create_topic().name("theirs").send().await.is_err());
    let iam = aws_sdk_iam::Client::new(&worker);
    let make = async |path: &str| {
        iam.create_role().path(path).role_name("r").assume_role_policy_document(TRUST).send().await.map(drop)
    };
    assert!(make("/theirs/").await.is_err());
    make("/ours/").await.unwrap();
}
