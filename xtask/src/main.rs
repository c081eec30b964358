fn main() {
    let set = protox::Compiler::new(["/tmp/protos/include"])
        .unwrap()
        .include_imports(true)
        .open_files([
            "mesos/v1/mesos.proto",
            "mesos/v1/agent/agent.proto",
            "mesos/v1/allocator/allocator.proto",
            "mesos/v1/executor/executor.proto",
            "mesos/v1/maintenance/maintenance.proto",
            "mesos/v1/master/master.proto",
            "mesos/v1/quota/quota.proto",
            "mesos/v1/scheduler/scheduler.proto",
            "mesos/v1/resource_provider/resource_provider.proto",
        ])
        .unwrap()
        .encode_file_descriptor_set();
    std::fs::write("/tmp/mesos.fds", set).unwrap();
}
