//! A client of the Container Runtime Interface: what kubelet asks for a pod's sandbox, and no more.
//!
//! The messages are those of `k8s.io/cri-api/pkg/apis/runtime/v1/api.proto`, with the fields that are used here and their
//! numbers there. They are written down and not generated, since generating takes `protoc` wherever this is built.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use prost::Message;
use tokio::runtime::{Builder, Runtime};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

/// As long as kubelet waits (`--runtime-request-timeout`).
const TIMEOUT: Duration = Duration::from_secs(120);

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PodSandboxConfig {
    #[prost(message, optional, tag = "1")]
    pub(crate) metadata: Option<PodSandboxMetadata>,
    #[prost(string, tag = "2")]
    pub(crate) hostname: String,
    #[prost(message, repeated, tag = "5")]
    pub(crate) port_mappings: Vec<PortMapping>,
    #[prost(btree_map = "string, string", tag = "7")]
    pub(crate) annotations: BTreeMap<String, String>,
    #[prost(message, optional, tag = "8")]
    pub(crate) linux: Option<LinuxPodSandboxConfig>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PodSandboxMetadata {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) uid: String,
    #[prost(string, tag = "3")]
    pub(crate) namespace: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PortMapping {
    #[prost(enumeration = "Protocol", tag = "1")]
    pub(crate) protocol: i32,
    #[prost(int32, tag = "2")]
    pub(crate) container_port: i32,
    #[prost(int32, tag = "3")]
    pub(crate) host_port: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum Protocol {
    Tcp = 0,
    Udp = 1,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct LinuxPodSandboxConfig {
    #[prost(string, tag = "1")]
    pub(crate) cgroup_parent: String,
}

#[derive(Clone, PartialEq, Message)]
struct RunPodSandboxRequest {
    #[prost(message, optional, tag = "1")]
    config: Option<PodSandboxConfig>,
}

/// Answer and question of several calls: a sandbox's ID as field 1.
#[derive(Clone, PartialEq, Message)]
struct PodSandboxId {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, Message)]
struct PodSandboxStatusRequest {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(bool, tag = "2")]
    verbose: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PodSandboxStatusResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) status: Option<PodSandboxStatus>,
    /// What containerd adds when asked to be verbose: JSON under the key `info`.
    #[prost(btree_map = "string, string", tag = "2")]
    pub(crate) info: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PodSandboxStatus {
    #[prost(enumeration = "PodSandboxState", tag = "3")]
    pub(crate) state: i32,
    #[prost(message, optional, tag = "5")]
    pub(crate) network: Option<PodSandboxNetworkStatus>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum PodSandboxState {
    Ready = 0,
    NotReady = 1,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PodSandboxNetworkStatus {
    #[prost(string, tag = "1")]
    pub(crate) ip: String,
    #[prost(message, repeated, tag = "2")]
    pub(crate) additional_ips: Vec<PodIp>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PodIp {
    #[prost(string, tag = "1")]
    pub(crate) ip: String,
}

#[derive(Clone, PartialEq, Message)]
struct ListPodSandboxResponse {
    #[prost(message, repeated, tag = "1")]
    items: Vec<PodSandbox>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PodSandbox {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
}

#[derive(Clone, PartialEq, Message)]
struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<RuntimeStatus>,
}

#[derive(Clone, PartialEq, Message)]
struct RuntimeStatus {
    #[prost(message, repeated, tag = "1")]
    conditions: Vec<RuntimeCondition>,
}

#[derive(Clone, PartialEq, Message)]
struct RuntimeCondition {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(bool, tag = "2")]
    status: bool,
}

#[derive(Clone, PartialEq, Message)]
struct ImageStatusRequest {
    #[prost(message, optional, tag = "1")]
    image: Option<ImageSpec>,
}

#[derive(Clone, PartialEq, Message)]
struct ImageSpec {
    #[prost(string, tag = "1")]
    image: String,
}

#[derive(Clone, PartialEq, Message)]
struct ImageStatusResponse {
    /// The image, of which only matters that it is there.
    #[prost(message, optional, tag = "1")]
    image: Option<()>,
}

/// A connection, for one thread at a time: a call waits for its answer.
pub(crate) struct Cri {
    runtime: Runtime,
    grpc: Grpc<Channel>,
}

impl Cri {
    pub(crate) fn connect(socket: &Path) -> Result<Self, String> {
        let runtime =
            Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
        let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display()));
        let endpoint = endpoint.map_err(|error| error.to_string())?.timeout(TIMEOUT);
        let channel = runtime.block_on(endpoint.connect()).map_err(|error| error.to_string())?;
        Ok(Cri { runtime, grpc: Grpc::new(channel) })
    }

    /// Whether the runtime has a network to give pods, by its own account.
    pub(crate) fn network_is_ready(&mut self) -> Result<bool, Status> {
        let answer: StatusResponse = self.call("RuntimeService/Status", ())?;
        let conditions = answer.status.unwrap_or_default().conditions;
        Ok(conditions.iter().any(|condition| condition.kind == "NetworkReady" && condition.status))
    }

    pub(crate) fn has_image(&mut self, name: &str) -> Result<bool, Status> {
        let request = ImageStatusRequest { image: Some(ImageSpec { image: name.to_owned() }) };
        let answer: ImageStatusResponse = self.call("ImageService/ImageStatus", request)?;
        Ok(answer.image.is_some())
    }

    /// Returns the sandbox's ID, which is CNI_CONTAINERID.
    pub(crate) fn run_pod_sandbox(&mut self, config: &PodSandboxConfig) -> Result<String, Status> {
        let request = RunPodSandboxRequest { config: Some(config.clone()) };
        let answer: PodSandboxId = self.call("RuntimeService/RunPodSandbox", request)?;
        Ok(answer.id)
    }

    pub(crate) fn stop_pod_sandbox(&mut self, id: &str) -> Result<(), Status> {
        self.call("RuntimeService/StopPodSandbox", PodSandboxId { id: id.to_owned() })
    }

    pub(crate) fn remove_pod_sandbox(&mut self, id: &str) -> Result<(), Status> {
        self.call("RuntimeService/RemovePodSandbox", PodSandboxId { id: id.to_owned() })
    }

    pub(crate) fn pod_sandbox_status(&mut self, id: &str) -> Result<PodSandboxStatusResponse, Status> {
        let request = PodSandboxStatusRequest { id: id.to_owned(), verbose: true };
        self.call("RuntimeService/PodSandboxStatus", request)
    }

    pub(crate) fn list_pod_sandboxes(&mut self) -> Result<Vec<PodSandbox>, Status> {
        let answer: ListPodSandboxResponse = self.call("RuntimeService/ListPodSandbox", ())?;
        Ok(answer.items)
    }

    fn call<Q: Message + 'static, A: Message + Default + 'static>(
        &mut self,
        method: &str,
        request: Q,
    ) -> Result<A, Status> {
        let path = PathAndQuery::try_from(format!("/runtime.v1.{method}")).unwrap();
        let grpc = &mut self.grpc;
        let answer = self.runtime.block_on(async {
            grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            grpc.unary(Request::new(request), path, ProstCodec::<Q, A>::default()).await
        });
        Ok(answer?.into_inner())
    }
}
