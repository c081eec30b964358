
# Every example as it stands, by the command line, and once more by the API. The image and the registry's content
# were made on the machine around this one.
docker-registry serve /registry.yml > /tmp/registry-log 2>&1 &
agent=$(get mesos/slaves | jq -r '.slaves[0].id')

# send METHOD PATH [FILE]
send() { curl -sS --fail-with-body -X $1 ${3:+-H 'Content-Type: application/json' -d @$3} http://127.0.0.1/$2; }
# now STEP COMMAND... for what works at once, soon STEP COMMAND APP ... for what is waited for. What fails is the end.
now() { step=$1; shift; if "$@" > /tmp/tried 2>&1; then echo "DONE $way $step"; else fail "$step"; fi; }
soon() { step=$1; shift; if tries 90 "$@"; then echo "DONE $way $step"; else fail "$step" $2; fi; }
fail() { echo "FAILED $way $1"; cat /tmp/tried; [ -z "$2" ] || { show $2 | tail -n 3; output $2; find /var/lib -path "*executors/$2*" -name stderr | xargs tail -n 5; }; tail -n 20 /tmp/up; poweroff -f; }

add() { if [ $way = cli ]; then dcos marathon app add /examples/$1; else send POST marathon/v2/apps /examples/$1; fi; }
remove() { if [ $way = cli ]; then dcos marathon app remove --force $1; else send DELETE "marathon/v2/apps/$1?force=true"; fi; }
show() { if [ $way = cli ]; then dcos marathon app show $1; else get "marathon/v2/apps/$1?embed=app.lastTaskFailure&embed=app.counts" | jq .app; fi; }
update() { if [ $way = cli ]; then dcos marathon app update /$1 < /examples/$2; else send PUT marathon/v2/apps/$1 /examples/$2; fi; }
pull() { if [ $way = cli ]; then dcos image pull $1; else echo "{\"reference\":\"$1\"}" > /tmp/pull; send POST agent/$agent/images/pull /tmp/pull | tee /tmp/pulled; grep -q '"image"' /tmp/pulled; fi; }
output() {
    if [ $way = cli ]; then dcos task log --lines=100 $1; dcos task log --completed --lines=100 $1; return 0; fi
    folder=$(get agent/$agent/state | jq -r "[.frameworks[] | (.executors + .completed_executors)[] | select(.id | startswith(\"$1.\"))][0].directory")
    get "agent/$agent/files/read?path=$folder/stdout&offset=0&length=1000" | jq -r .data
}
tasks() { if [ $way = cli ]; then dcos task list --all --json; else get 'mesos/tasks?limit=1000' | jq .tasks; fi; }

failed() { show $1 | jq -r .lastTaskFailure.message | grep -q "$2"; }
running() { show $1 | jq -e "(.deployments | length) == 0 and .tasksRunning == $2 and ((.healthChecks // []) == [] or .tasksHealthy == $2)"; }
answers() { get service/$1/ | grep "^$2"; }
says() { output $1 | tr '\n' ' ' | grep "$2"; }
finished() { tasks | jq -e "[.[] | select((.id | startswith(\"$1.\")) and .state == \"TASK_FINISHED\")] | length >= $2"; }
gone() { get marathon/v2/apps | jq -e '.apps == []' && get marathon/v2/deployments | jq -e '. == []'; }

# Answers all the time until the new version does everywhere.
rolls() {
    until get marathon/v2/deployments | jq -e '. == []' > /dev/null && answers rolling-update 2; do
        send GET service/rolling-update/ > /tmp/page || { cat /tmp/page; return 1; }
    done
}

# exits CODE OPTIONS TASK COMMAND...: what it said is in /tmp/out.
exits() { wanted=$1; shift; dcos task exec "$@" > /tmp/out; [ $? = $wanted ]; }
in_image() { exits 7 image sh -c 'echo $(id -un) $(pwd); exit 7' && grep '^web /home/web' /tmp/out; }
in_sandbox() { exits 0 $first cat www/greeting.txt && grep '^hello' /tmp/out; }
at_terminal() { exits 0 -t $1 tty && grep '^/dev/pts/' /tmp/out; }
typed() { echo over there | exits 5 -i $first sh -c 'cat; exit 5' && grep '^over there' /tmp/out; }

for way in cli api; do
    for app in crash-loop memory-hog web-service batch; do now "add $app" add $app/app.json; done
    now "pull" pull /hello.tar
    for app in image registry; do now "add $app" add $app/app.json; done
    now "add rolling-update" add rolling-update/v1.json

    soon "crash-loop" failed crash-loop 'Command exited with status 3'
    soon "memory-hog" failed memory-hog 'Memory limit exceeded'
    for app in crash-loop memory-hog; do now "remove $app" remove $app; done

    soon "web-service runs" running web-service 2
    soon "web-service" answers web-service 'hello from web-service'
    now "add fetch" add fetch/app.json
    soon "image runs" running image 1
    soon "image" answers image 'image set by the app, user web, in /home/web'
    soon "registry runs" running registry 1
    soon "registry" answers registry 'hello from an image'
    soon "rolling-update runs" running rolling-update 3
    soon "rolling-update 1" answers rolling-update 1
    soon "fetch runs" running fetch 1
    soon "fetch" says fetch 'packed hello'
    soon "batch" finished batch 2
    soon "batch's output" says batch 'the sum is 500500'

    if [ $way = cli ]; then
        first=$(dcos marathon task list -q web-service | head -1)
        now "exec in an image" in_image
        now "exec in a sandbox" in_sandbox
        now "exec -t in an image" at_terminal image
        now "exec -t in a sandbox" at_terminal $first
        now "exec -i" typed
    fi

    now "update rolling-update" update rolling-update rolling-update/v2.json
    now "rolling-update 2" rolls
    for app in web-service image registry rolling-update fetch batch; do now "remove $app" remove $app; done
    soon "gone" gone
    now "prune" dcos image prune
done
[ -z "$(dcos image list -q)" ] && echo "PRUNED yes" || dcos image list
