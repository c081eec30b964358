
# A routed service, an image in a network of its own, and a task that takes too much memory.
post() { wget -q -O - --header 'Content-Type: application/json' --post-data "$1" http://127.0.0.1/marathon/v2/apps > /tmp/post 2>&1; }
post '{"id":"/web","cmd":"echo hello > index.html; exec busybox httpd -f -p $HOST:$PORT0 -h .","cpus":0.1,"mem":32,"instances":2,"labels":{"DCOS_SERVICE_NAME":"web","DCOS_SERVICE_SCHEME":"http","DCOS_SERVICE_PORT_INDEX":"0"},"healthChecks":[{"protocol":"HTTP","path":"/","portIndex":0,"intervalSeconds":2,"timeoutSeconds":10,"gracePeriodSeconds":60}]}' || cat /tmp/post
tries 120 holds marathon/v2/apps//web '"tasksHealthy":2' && echo "HEALTHY yes" || get marathon/v2/apps//web
tries 60 holds service/web/ hello && echo "ROUTED yes"
mkdir -p /tmp/image/root/bin /tmp/image/root/tmp && cd /tmp/image && cp /bin/busybox root/bin/ && ln -s busybox root/bin/sh
tar -C root -cf layer.tar . && layer=$(sha256sum layer.tar | cut -d' ' -f1)
echo "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Env\":[\"PATH=/bin\"]},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:$layer\"]}}" > config.json
echo '[{"Config":"config.json","RepoTags":["boxed:1"],"Layers":["layer.tar"]}]' > manifest.json
tar -cf /tmp/boxed.tar manifest.json config.json layer.tar; cd /
post '{"id":"/boxed","cmd":"busybox wget -q -O /tmp/info.html http://172.31.254.1/marathon/v2/info; echo boxed > /tmp/index.html; exec busybox httpd -f -p 8080 -h /tmp","cpus":0.1,"mem":32,"container":{"type":"MESOS","docker":{"image":"file:///tmp/boxed.tar"},"portMappings":[{"containerPort":8080,"hostPort":0}]},"networks":[{"mode":"container/bridge"}],"labels":{"DCOS_SERVICE_NAME":"boxed","DCOS_SERVICE_SCHEME":"http","DCOS_SERVICE_PORT_INDEX":"0"}}' || cat /tmp/post
tries 60 holds service/boxed/ boxed && echo "BRIDGED yes" || get 'marathon/v2/apps//boxed?embed=app.lastTaskFailure'
holds service/boxed/info.html '"name":"marathon"' && echo "GATEWAY yes"
post '{"id":"/hog","cmd":"exec busybox dd if=/dev/zero of=/dev/null bs=300M count=100","cpus":0.1,"mem":32}' || cat /tmp/post
tries 120 holds 'marathon/v2/apps//hog?embed=app.lastTaskFailure' 'Memory limit exceeded' && echo "OOM yes" || get 'marathon/v2/apps//hog?embed=app.lastTaskFailure'
echo "LIMIT $(cat $(find /sys/fs/cgroup -name memory.max | xargs grep -l '^67108864$' | head -1) 2>/dev/null)"
