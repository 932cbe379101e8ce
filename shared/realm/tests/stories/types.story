# Process types of one app share servants: none gets a port of another, and all are spread.

> servant a 20000-20009
  1 servant.joined {"domain":"default","facts":{"servant":"@a","name":"a","capabilities":{},"ports":{"first":20000,"last":20009},"cpus":2,"memory_bytes":1073741824,"boot":"boot-1"}}
  verdict: "committed"
> servant b 30000-30009
  2 servant.joined {"domain":"default","facts":{"servant":"@b","name":"b","capabilities":{},"ports":{"first":30000,"last":30009},"cpus":2,"memory_bytes":1073741824,"boot":"boot-1"}}
  verdict: "committed"
> command c1 app.create {"app":"shop"}
  3 app.created {"app":"shop"}
  4 command.accepted {"id":"c1","command":"app.create"}
> command c2 version.publish {"app":"shop","version":"1.0.0","archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"admin":{"command":"run","ports":["http"]},"db":{"command":"run","ports":["sql","stats"]},"web":{"command":"run","ports":["http"]},"work":{"command":"run"}}}}
  5 version.published {"app":"shop","version":"1.0.0","commit":null,"archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"admin":{"command":"run","count":1,"ports":["http"],"restart":"always","stop_grace_ms":10000},"db":{"command":"run","count":1,"ports":["sql","stats"],"restart":"always","stop_grace_ms":10000},"web":{"command":"run","count":1,"ports":["http"],"restart":"always","stop_grace_ms":10000},"work":{"command":"run","count":1,"restart":"always","stop_grace_ms":10000}}}}
  6 command.accepted {"id":"c2","command":"version.publish"}
> command c3 app.deploy {"app":"shop","version":"1.0.0"}
  7 release.created {"app":"shop","release":1,"version":"1.0.0","environments":{"admin":{},"db":{},"web":{},"work":{}}}
  8 app.deployed {"app":"shop","release":1,"counts":{"admin":1,"db":1,"web":1,"work":1}}
  9 instance.placed {"instance":"i1","app":"shop","process":"admin","release":1,"servant":"@a","ports":{"http":20000}}
  10 instance.placed {"instance":"i2","app":"shop","process":"db","release":1,"servant":"@b","ports":{"sql":30000,"stats":30001}}
  11 instance.placed {"instance":"i3","app":"shop","process":"web","release":1,"servant":"@a","ports":{"http":20001}}
  12 instance.placed {"instance":"i4","app":"shop","process":"work","release":1,"servant":"@b","ports":{}}
  13 command.accepted {"id":"c3","command":"app.deploy","release":1}
