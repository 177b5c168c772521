//! Redis authentication, ACLs, TLS, and unsuitable servers.

use super::*;

#[tokio::test]
async fn redis_password_from_url_is_used_and_never_shown() {
    let server = Redis::start(&["--requirepass", "S3cret@/#:%"]);
    let right = ":S3cret%40%2F%23%3A%25@";
    cache(&server.url(right), None).evict(&some_keys()).await.expect("the password is right");
    assert_eq!(cache(&server.url(right), None).ready().await, Ok(0));
    for wrong in ["", ":S3cret@", "nobody:S3cret@", "default:S3cret@"] {
        // With a database number, Redis refuses the SELECT first if there is no password.
        for database in ["", "/3"] {
            let cache = cache(&format!("{}{database}", server.url(wrong)), None);
            let error = cache.evict(&some_keys()).await.expect_err(wrong);
            assert_eq!(error, CacheError::Credentials, "with {wrong:?} and {database:?}");
            assert_eq!(cache.ready().await, Err(CacheError::Credentials), "with {wrong:?} and {database:?}");
            let seen = format!("{error} {error:?} {cache:?}");
            assert!(!seen.contains("S3") && !seen.contains("127.0.0.1") && !seen.contains("u-1"), "{seen}");
        }
    }
}

#[tokio::test]
async fn password_is_rejected_by_redis_without_auth() {
    let server = Redis::start(&[]);
    assert_eq!(cache(&server.url(":S3cret@"), None).ready().await, Err(CacheError::Credentials));
}

#[tokio::test]
async fn documented_redis_acl_is_sufficient_and_minimal() {
    let server = Redis::start(&[]);
    let mut redis = server.connect().await;
    let channel = format!("&{CHANNEL}");
    let named = format!("&prod:{CHANNEL}");
    for (name, namespace, database, rights, expected) in [
        ("all", None, "", format!("~* {channel} +del +publish"), Ok(0)),
        ("named", Some("prod"), "", format!("~prod:* {named} +del +publish"), Ok(0)),
        ("nodel", None, "", format!("~* {channel} +publish"), Err(CacheError::Forbidden)),
        ("nopub", None, "", format!("~* {channel} +del"), Err(CacheError::Forbidden)),
        ("other", None, "/3", format!("~* {channel} +del +publish +select"), Ok(0)),
        ("noselect", None, "/3", format!("~* {channel} +del +publish"), Err(CacheError::Database)),
        ("nokey", None, "", format!("~prod:* {channel} +del +publish"), Err(CacheError::Forbidden)),
        ("nochannel", None, "", format!("~* {named} +del +publish"), Err(CacheError::Forbidden)),
    ] {
        let made = redis.ask(&format!("ACL SETUSER {name} reset resetchannels on >pw {rights}")).await;
        assert_eq!(made, ["+OK"], "{rights}");
        let cache = cache(&format!("{}{database}", server.url(&format!("{name}:pw@"))), namespace);
        assert_eq!(cache.ready().await, expected, "{rights}");
        assert_eq!(cache.evict(&some_keys()).await, expected.map(|_| ()), "{rights}");
    }
}

#[tokio::test]
async fn missing_redis_database_is_reported() {
    let server = Redis::start(&["--databases", "4"]);
    assert_eq!(cache(&format!("{}/3", server.url("")), None).ready().await, Ok(0));
    assert_eq!(cache(&format!("{}/4", server.url("")), None).ready().await, Err(CacheError::Database));
}

#[tokio::test]
async fn workers_are_notified_without_delete_permission() {
    let server = Redis::start(&[]);
    let mut worker = server.connect().await;
    worker.ask(&format!("ACL SETUSER teller reset on >pw ~* &{CHANNEL} +publish")).await;
    worker.ask(&format!("SUBSCRIBE {CHANNEL}")).await;
    let cache = cache(&server.url("teller:pw@"), None);
    assert_eq!(cache.evict(&some_keys()).await, Err(CacheError::Forbidden));
    heard(&mut worker, CHANNEL, some_keys().len()).await;
}

#[tokio::test]
async fn redis_replica_is_reported() {
    let primary = Redis::start(&[]);
    let replica = Redis::start(&["--replicaof", "127.0.0.1", &primary.port.to_string()]);
    assert_eq!(cache(&replica.url(""), None).evict(&some_keys()).await, Err(CacheError::Replica));
}

#[tokio::test]
async fn untrusted_redis_certificate_is_rejected() {
    let folder = std::env::temp_dir().join(format!("entraway-redis-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    let mut openssl = std::process::Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
    openssl.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
    let made = openssl.arg("-out").arg(&certificate).arg("-keyout").arg(&key).output().expect("openssl is installed");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    let port = crate::support::redis::free_port().to_string();
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let files = ["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", certificate];
    let server = Redis::start(&[&["--tls-port", &port, "--tls-auth-clients", "no"], &files[..]].concat());
    let error =
        cache(&format!("rediss://127.0.0.1:{port}"), None).ready().await.expect_err("the certificate is not trusted");
    assert!(error.to_string().starts_with("Redis cannot be reached: invalid peer certificate"), "{error}");

    let error =
        cache(&format!("rediss://127.0.0.1:{}", server.port), None).ready().await.expect_err("the server has no TLS");
    assert!(matches!(error, CacheError::Unreachable(_) | CacheError::Timeout), "{error:?}");
    std::fs::remove_dir_all(&folder).unwrap();
}
