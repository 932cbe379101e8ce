# A job that is done stays done: it is not run again when its servant is lost or its host restarted.

> servant a 20000-20009
  1 servant.joined {"domain":"default","facts":{"servant":"@a","name":"a","capabilities":{},"ports":{"first":20000,"last":20009},"cpus":2,"memory_bytes":1073741824,"boot":"boot-1"}}
  verdict: "committed"
> servant b 20000-20009
  2 servant.joined {"domain":"default","facts":{"servant":"@b","name":"b","capabilities":{},"ports":{"first":20000,"last":20009},"cpus":2,"memory_bytes":1073741824,"boot":"boot-1"}}
  verdict: "committed"
> command c1 app.create {"app":"shop"}
  3 app.created {"app":"shop"}
  4 command.accepted {"id":"c1","command":"app.create"}
> command c2 version.publish {"app":"shop","version":"1.0.0","archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"migrate":{"command":"run","restart":"never"}}}}
  5 version.published {"app":"shop","version":"1.0.0","commit":null,"archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"migrate":{"command":"run","count":1,"restart":"never","stop_grace_ms":10000}}}}
  6 command.accepted {"id":"c2","command":"version.publish"}
> command c3 app.deploy {"app":"shop","version":"1.0.0"}
  7 release.created {"app":"shop","release":1,"version":"1.0.0","environments":{"migrate":{}}}
  8 app.deployed {"app":"shop","release":1,"counts":{"migrate":1}}
  9 instance.placed {"instance":"i1","app":"shop","process":"migrate","release":1,"servant":"@a","ports":{}}
  10 command.accepted {"id":"c3","command":"app.deploy","release":1}
> report a instance.started {"instance":"i1","pid":1}
  11 instance.started {"instance":"i1","pid":1}
  verdict: "committed"
> report a instance.exited {"instance":"i1","pid":1,"code":0,"uptime_ms":5}
  12 instance.finished {"instance":"i1","pid":1}
  13 app.settled {"app":"shop","release":1}
  verdict: "committed"
> report foreman servant.lose {"servant":"@a","silent_ms":3000}
  14 servant.lost {"servant":"@a","name":"a","silent_ms":3000}
  15 app.settled {"app":"shop","release":1}
  verdict: "committed"
> query app.ls
  {"app":"shop","created_at":3000,"newest":"1.0.0","obstacles":[],"phase":"settled","processes":[{"healthy":1,"old":0,"placed":1,"process":"migrate","wanted":1}],"release":1,"version":"1.0.0"}
> tick
