# Crashes, crash loops, failures and taken ports.

> servant a 20000-20002 node=20.2.0
  1 servant.joined {"domain":"default","facts":{"servant":"@a","name":"a","capabilities":{"node":"20.2.0"},"ports":{"first":20000,"last":20002},"cpus":2,"memory_bytes":1073741824,"boot":"boot-1"}}
  verdict: "committed"
> command c1 app.create {"app":"shop"}
  2 app.created {"app":"shop"}
  3 command.accepted {"id":"c1","command":"app.create"}
> command c2 version.publish {"app":"shop","version":"1.0.0","archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"web":{"command":"node server.js","ports":["http"],"needs":{"node":">=18"}}}}}
  4 version.published {"app":"shop","version":"1.0.0","commit":null,"archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"web":{"command":"node server.js","count":1,"ports":["http"],"restart":"always","stop_grace_ms":10000,"needs":{"node":">=18"}}}}}
  5 command.accepted {"id":"c2","command":"version.publish"}
> command c3 app.deploy {"app":"shop","version":"1.0.0"}
  6 release.created {"app":"shop","release":1,"version":"1.0.0","environments":{"web":{}}}
  7 app.deployed {"app":"shop","release":1,"counts":{"web":1}}
  8 instance.placed {"instance":"i1","app":"shop","process":"web","release":1,"servant":"@a","ports":{"http":20000}}
  9 command.accepted {"id":"c3","command":"app.deploy","release":1}

# A stranger holds the port: the instance gets another.
> report a instance.port-taken {"instance":"i1","port":20000}
  10 instance.ports-replaced {"instance":"i1","taken":20000,"ports":{"http":20001}}
  verdict: "committed"
> assignment a
  run i1 shop/web release 1 ports 20001
> report a instance.started {"instance":"i1","pid":1}
  11 instance.started {"instance":"i1","pid":1}
  verdict: "committed"
> report a instance.ready {"instance":"i1"}
  12 instance.became-healthy {"instance":"i1"}
  13 app.settled {"app":"shop","release":1}
  verdict: "committed"
> report a instance.exited {"instance":"i1","pid":1,"signal":9,"uptime_ms":5000,"restart_in_ms":0}
  14 instance.crashed {"instance":"i1","pid":1,"exit":{"signal":9},"uptime_ms":5000,"restart_in_ms":0}
  verdict: "committed"
> report a instance.exited {"instance":"i1","pid":1,"signal":9,"uptime_ms":5000,"restart_in_ms":0}
  verdict: "redundant"
> report a instance.started {"instance":"i1","pid":2}
  15 instance.started {"instance":"i1","pid":2}
  verdict: "committed"
> report a instance.exited {"instance":"i1","pid":2,"code":1,"uptime_ms":5,"restart_in_ms":100}
  16 instance.crashed {"instance":"i1","pid":2,"exit":{"code":1},"uptime_ms":5,"restart_in_ms":100}
  verdict: "committed"
> report a instance.looping {"instance":"i1","crashes":5,"window_ms":60000}
  17 instance.crash-looped {"instance":"i1","crashes":5,"window_ms":60000}
  verdict: "committed"
> query app.ls
  {"app":"shop","created_at":2000,"newest":"1.0.0","obstacles":["web: instance i1 on a crashes again and again: exit code 1"],"phase":"failing","processes":[{"healthy":0,"old":0,"placed":1,"process":"web","wanted":1}],"release":1,"version":"1.0.0"}
> report a instance.started {"instance":"i1","pid":3}
  18 instance.started {"instance":"i1","pid":3}
  verdict: "committed"
> report a instance.ready {"instance":"i1"}
  19 instance.became-healthy {"instance":"i1"}
  verdict: "committed"
> report a instance.steady {"instance":"i1"}
  20 instance.steadied {"instance":"i1"}
  verdict: "committed"
> query app.ls
  {"app":"shop","created_at":2000,"newest":"1.0.0","obstacles":[],"phase":"settled","processes":[{"healthy":1,"old":0,"placed":1,"process":"web","wanted":1}],"release":1,"version":"1.0.0"}

# A version that cannot be built fails, the one before runs on, and the next deploy of it tries anew.
> command c4 version.publish {"app":"shop","version":"2.0.0","archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"web":{"command":"node server.js","ports":["http"],"needs":{"node":">=18"}}}}}
  21 version.published {"app":"shop","version":"2.0.0","commit":null,"archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"web":{"command":"node server.js","count":1,"ports":["http"],"restart":"always","stop_grace_ms":10000,"needs":{"node":">=18"}}}}}
  22 command.accepted {"id":"c4","command":"version.publish"}
> command c5 app.deploy {"app":"shop","version":"2.0.0"}
  23 release.created {"app":"shop","release":2,"version":"2.0.0","environments":{"web":{}}}
  24 app.deployed {"app":"shop","release":2,"counts":{"web":1}}
  25 instance.placed {"instance":"i2","app":"shop","process":"web","release":2,"servant":"@a","ports":{"http":20002}}
  26 command.accepted {"id":"c5","command":"app.deploy","release":2}
> report a instance.failed {"instance":"i2","stage":"build","reason":"npm ERR! missing script"}
  27 instance.failed {"instance":"i2","stage":"build","reason":"npm ERR! missing script"}
  verdict: "committed"
> query app.ls
  {"app":"shop","created_at":2000,"newest":"2.0.0","obstacles":["web: instance i2 on a cannot be started: npm ERR! missing script"],"phase":"failing","processes":[{"healthy":0,"old":1,"placed":1,"process":"web","wanted":1}],"release":2,"version":"2.0.0"}
> command c6 app.deploy {"app":"shop","version":"2.0.0"}
  28 instance.retired {"instance":"i2","reason":"replaced"}
  29 command.accepted {"id":"c6","command":"app.deploy","release":2}

# Somebody else's instance, and one that is gone, are no news.
> report foreman instance.ready {"instance":"i2"}
  verdict: "redundant"
> report a instance.stopped {"instance":"i2"}
  30 instance.stopped {"instance":"i2"}
  31 instance.placed {"instance":"i3","app":"shop","process":"web","release":2,"servant":"@a","ports":{"http":20002}}
  verdict: "committed"
> report a instance.ready {"instance":"i2"}
  verdict: "redundant"
