//! deploy/kubernetes as built by kubectl, and the configuration in its config map.

use std::process::Command;

use clap::CommandFactory as _;
use entraway::cli::Cli;
use entraway::config::Env;
use jsonschema::Validator;
use serde_json::{Value, json};

use super::{DATABASE_URL, configuration, file, image, objections, output, schema, texts, yaml};
use crate::cli::program::Folder;
use crate::docs::markdown::root;
use crate::support::{Browser, World};

/// Oldest version that supports all used fields, and newest version with a published schema.
const VERSIONS: [&str; 2] = ["1.30", "1.37"];

/// All resources that `kubectl apply -k` would send.
fn manifests() -> Vec<Value> {
    let home = Folder::new();
    let mut command = Command::new("kubectl");
    command.args(["kustomize", "deploy/kubernetes"]).current_dir(root()).env("HOME", home.path());
    let ended = output("kubectl", &mut command);
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let text = String::from_utf8(ended.stdout).unwrap();
    text.split("\n---\n").map(yaml).collect()
}

#[track_caller]
fn of_kind<'a>(manifests: &'a [Value], kind: &str) -> &'a Value {
    let mut found = manifests.iter().filter(|manifest| manifest["kind"] == kind);
    let one = found.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(found.next().is_none(), "more than one {kind}");
    one
}

fn pod(manifests: &[Value]) -> &Value {
    &of_kind(manifests, "Deployment")["spec"]["template"]["spec"]
}

/// The service's container and its init container.
fn containers(pod: &Value) -> [&Value; 2] {
    let (service, before) = (&pod["containers"], &pod["initContainers"]);
    for list in [service, before] {
        assert_eq!(list.as_array().map(Vec::len), Some(1), "one container each: {list}");
    }
    [&service[0], &before[0]]
}

/// Schema of a resource in one version, without unknown keys.
fn validator(definitions: &Value, manifest: &Value) -> Validator {
    let api = manifest["apiVersion"].as_str().unwrap();
    let (group, version) = api.rsplit_once('/').unwrap_or(("", api));
    let wanted = json!([{ "group": group, "kind": manifest["kind"], "version": version }]);
    let all = definitions["$defs"].as_object().unwrap();
    let found = all.iter().find(|(_, schema)| schema["x-kubernetes-group-version-kind"] == wanted);
    let (name, _) = found.unwrap_or_else(|| panic!("{api} {} does not exist in this version", manifest["kind"]));
    let schema = json!({ "$ref": format!("#/$defs/{name}"), "$defs": all });
    jsonschema::draft202012::new(&schema).unwrap()
}

#[test]
fn manifests_conform_to_the_kubernetes_schema() {
    let mut manifests = manifests();
    manifests.push(yaml(&file("deploy/kubernetes/secret.example.yaml")));
    for version in VERSIONS {
        let definitions = schema(&format!("kubernetes-{version}.json"));
        for manifest in &manifests {
            let validator = validator(&definitions, manifest);
            let found = objections(&validator, manifest);
            assert_eq!(found, Vec::<String>::new(), "{} in Kubernetes {version}", manifest["kind"]);
            if manifest["kind"] == "Deployment" {
                // Control: the schema rejects an unknown key.
                let mut wrong = manifest.clone();
                wrong["spec"]["template"]["spec"]["containers"][0]["securityContext"]["readOnlyRoot"] = json!(true);
                assert_ne!(objections(&validator, &wrong), Vec::<String>::new());
            }
        }
    }
}

#[test]
fn kustomization_uses_every_file() {
    let kustomization = yaml(&file("deploy/kubernetes/kustomization.yaml"));
    let mut used = texts(&kustomization["resources"]);
    used.extend(["kustomization.yaml", "secret.example.yaml"]);
    used.sort_unstable();
    let folder = std::fs::read_dir(root().join("deploy/kubernetes")).unwrap();
    let mut there: Vec<String> = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    there.sort_unstable();
    assert_eq!(there, used);
}

#[test]
fn pods_run_with_a_restricted_security_context() {
    let manifests = manifests();
    let pod = pod(&manifests);
    let context = &pod["securityContext"];
    assert_eq!(context["runAsNonRoot"], true);
    for key in ["runAsUser", "runAsGroup", "fsGroup"] {
        assert_eq!(context[key], image::UID, "{key}: the image's user");
    }
    assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(of_kind(&manifests, "ServiceAccount")["automountServiceAccountToken"], false);
    assert_eq!(pod["serviceAccountName"], of_kind(&manifests, "ServiceAccount")["metadata"]["name"]);
    for container in containers(pod) {
        let locked = json!({
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] },
        });
        assert_eq!(container["securityContext"], locked, "{}", container["name"]);
        for key in ["requests", "limits"] {
            assert!(container["resources"][key]["memory"].is_string(), "{}: {key}", container["name"]);
        }
        assert!(container.get("env").is_none(), "secrets are files: {}", container["env"]);
        let image = container["image"].as_str().unwrap();
        assert!(image.starts_with("registry.example.com/entraway:"), "the image of kustomization.yaml: {image}");
    }
    let enforced = &of_kind(&manifests, "Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"];
    assert_eq!(enforced, "restricted");
}

#[test]
fn rolling_update_keeps_replicas_available() {
    let manifests = manifests();
    let deployment = of_kind(&manifests, "Deployment");
    assert_eq!(deployment["spec"]["replicas"], 2);
    assert_eq!(deployment["spec"]["strategy"]["rollingUpdate"], json!({ "maxSurge": 1, "maxUnavailable": 0 }));
    assert_eq!(of_kind(&manifests, "PodDisruptionBudget")["spec"]["minAvailable"], 1);
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    for selector in [
        &deployment["spec"]["selector"]["matchLabels"],
        &of_kind(&manifests, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        &of_kind(&manifests, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        &of_kind(&manifests, "Service")["spec"]["selector"],
    ] {
        assert_eq!(selector, labels, "selector");
    }
    let pod = pod(&manifests);
    let [service, _] = containers(pod);
    let sleeps = service["lifecycle"]["preStop"]["sleep"]["seconds"].as_i64().unwrap();
    // Graceful shutdown takes up to 15 seconds: src/http/server.rs.
    let grace = pod["terminationGracePeriodSeconds"].as_i64().unwrap();
    assert!(sleeps > 0 && grace > sleeps + 15, "{sleeps} s and 15 s exceed the grace period of {grace} s");
}

#[test]
fn ports_match_image_and_metrics_are_prometheus_only() {
    let manifests = manifests();
    let [service, before] = containers(pod(&manifests));
    let ports = json!([
        { "name": "http", "containerPort": image::port() },
        { "name": "metrics", "containerPort": 9464 },
    ]);
    assert_eq!(service["ports"], ports);
    let published = json!([{ "name": "http", "port": image::port(), "targetPort": "http" }]);
    assert_eq!(of_kind(&manifests, "Service")["spec"]["ports"], published, "the Service does not expose metrics");
    let annotations = &of_kind(&manifests, "Deployment")["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(annotations["prometheus.io/port"], "9464");
    let rules = of_kind(&manifests, "NetworkPolicy")["spec"]["ingress"].as_array().unwrap();
    for (port, whose) in [("http", "ingress-nginx"), ("metrics", "monitoring")] {
        let may: Vec<_> = rules.iter().filter(|rule| rule["ports"].to_string().contains(port)).collect();
        assert_eq!(may.len(), 1, "rules for {port}: {may:?}");
        assert!(may[0]["from"].to_string().contains(whose), "sources for {port}: {}", may[0]);
    }
    assert_eq!(rules.len(), 2, "{rules:?}");
    let backend = &of_kind(&manifests, "Ingress")["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"];
    assert_eq!(backend, &json!({ "name": "entraway", "port": { "name": "http" } }));

    for (container, words) in [(service, ["serve"]), (before, ["migrate"])] {
        assert_eq!(container["args"], json!(words));
        assert!(Cli::command().find_subcommand(words[0]).is_some(), "{words:?} is not a subcommand");
        assert!(container.get("command").is_none(), "the image's entry point must be used");
    }
}

#[tokio::test]
async fn probes_match_the_health_endpoints() {
    let world = World::new().await;
    let service = world.service().await;
    let manifests = manifests();
    let [container, _] = containers(pod(&manifests));
    for (probe, expected) in
        [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")]
    {
        let asked = &container[probe]["httpGet"];
        assert_eq!((&asked["path"], &asked["port"]), (&json!(expected), &json!("http")), "{probe}");
    }
    for path in ["/healthz", "/readyz"] {
        let answer = Browser::new().get(service.at(path)).await;
        assert_eq!(answer.status, 200, "{path}: {answer:#?}");
    }
}

#[test]
fn config_map_is_valid_and_its_secret_files_exist() {
    let manifests = manifests();
    let pod = pod(&manifests);
    let map = of_kind(&manifests, "ConfigMap");
    let secret = yaml(&file("deploy/kubernetes/secret.example.yaml"));
    let volumes = json!([
        { "name": "config", "configMap": { "name": map["metadata"]["name"] } },
        // Readable by owner and group.
        { "name": "secrets", "secret": { "secretName": secret["metadata"]["name"], "defaultMode": 0o440 } },
    ]);
    assert_eq!(pod["volumes"], volumes);
    assert_eq!(secret["metadata"]["namespace"], map["metadata"]["namespace"]);
    let (_, folder) = image::places();
    let mounts = "/run/secrets/entraway";
    for container in containers(pod) {
        let expected = json!([
            { "name": "config", "mountPath": folder, "readOnly": true },
            { "name": "secrets", "mountPath": mounts, "readOnly": true },
        ]);
        assert_eq!(container["volumeMounts"], expected, "{}", container["name"]);
    }
    let held: Vec<String> =
        secret["stringData"].as_object().unwrap().keys().map(|key| format!("{mounts}/{key}")).collect();
    let secrets = held.iter().map(|path| {
        let url = path.ends_with("database_url");
        (path.as_str(), if url { DATABASE_URL } else { "abc8Q~placeholder" })
    });
    let text = map["data"]["config.yaml"].as_str().unwrap();
    let place = Folder::new();
    let config = configuration(text, &secrets.collect::<Vec<_>>(), place.path(), &Env::new());
    assert_eq!(i64::from(config.server.listen.port()), image::port());
    assert!(
        config.server.listen.ip().is_unspecified(),
        "the service listens on an address that is unreachable in the cluster"
    );
    assert!(!config.server.trusted_proxies.is_empty(), "rate limiting needs the client's address");
    let metrics = config.server.metrics_listen.expect("a metrics listener");
    assert!(metrics.ip().is_unspecified() && metrics.port() == 9464, "the port in the manifests: {metrics}");
    let host = config.server.public_url.as_url().host_str().unwrap().to_owned();
    let ingress = &of_kind(&manifests, "Ingress")["spec"];
    assert_eq!(ingress["rules"][0]["host"], host);
    assert_eq!(ingress["tls"][0]["hosts"], json!([host]));

    let example = [
        (
            held.iter().find(|path| path.ends_with("database_url")).unwrap().as_str(),
            &secret["stringData"]["database_url"],
        ),
        (held.iter().find(|path| path.ends_with("client_secret")).unwrap().as_str(), &json!("abc8Q~placeholder")),
    ];
    let example: Vec<_> = example.iter().map(|(path, value)| (*path, value.as_str().unwrap())).collect();
    configuration(text, &example, place.path(), &Env::new());
}
