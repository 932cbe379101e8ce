# A full disk: nothing new is placed there, what runs goes on, and what waits goes on when there is room.

> servant s1 20000-20009 node=20.2.0
  1 servant.joined {"domain":"default","facts":{"servant":"@s1","name":"s1","capabilities":{"node":"20.2.0"},"ports":{"first":20000,"last":20009},"cpus":2,"memory_bytes":1073741824,"boot":"boot-1"}}
  verdict: "committed"
> report s1 servant.measure-disk {"servant":"@s1","disk":{"level":"normal","used_percent":40,"free_bytes":1000}}
  verdict: "redundant"
> report s1 servant.measure-disk {"servant":"@s1","disk":{"level":"normal","used_percent":41,"free_bytes":990}}
  verdict: "redundant"
> command c1 app.create {"app":"shop"}
  2 app.created {"app":"shop"}
  3 command.accepted {"id":"c1","command":"app.create"}
> command c2 version.publish {"app":"shop","version":"1.0.0","archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"web":{"command":"node server.js","ports":["http","admin"],"needs":{"node":">=18"}}}}}
  4 version.published {"app":"shop","version":"1.0.0","commit":null,"archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"web":{"command":"node server.js","count":1,"ports":["http","admin"],"restart":"always","stop_grace_ms":10000,"needs":{"node":">=18"}}}}}
  5 command.accepted {"id":"c2","command":"version.publish"}
> command c3 app.deploy {"app":"shop","version":"1.0.0","count":1}
  6 release.created {"app":"shop","release":1,"version":"1.0.0","environments":{"web":{}}}
  7 app.deployed {"app":"shop","release":1,"counts":{"web":1}}
  8 instance.placed {"instance":"i1","app":"shop","process":"web","release":1,"servant":"@s1","ports":{"admin":20001,"http":20000}}
  9 command.accepted {"id":"c3","command":"app.deploy","release":1}
> report s1 servant.measure-disk {"servant":"@s1","disk":{"level":"critical","used_percent":96,"free_bytes":40}}
  10 servant.disk-changed {"servant":"@s1","name":"s1","disk":{"level":"critical","used_percent":96,"free_bytes":40}}
  verdict: "committed"
> assignment s1
  run i1 shop/web release 1 ports 20001,20000
> command c4 app.scale {"app":"shop","count":2}
  11 app.scaled {"app":"shop","counts":{"web":2}}
  12 command.accepted {"id":"c4","command":"app.scale","release":1}
> query why-not.app {"app":"shop","servant":"s1"}
  {"app":"shop","process":"web","reasons":["1 of 2 run there","it has a full disk (96 % used)"],"servant":"s1","standing":"runs"}
> report s1 servant.clean-disk {"servant":"@s1","cleaned":{"removed":[{"what":"release","name":"shop release 1","bytes":70,"why":"room"}],"bytes":70}}
  13 servant.disk-cleaned {"servant":"@s1","name":"s1","cleaned":{"removed":[{"what":"release","name":"shop release 1","bytes":70,"why":"room"}],"bytes":70}}
  verdict: "committed"
> report s1 servant.measure-disk {"servant":"@s1","disk":{"level":"high","used_percent":90,"free_bytes":100}}
  14 servant.disk-changed {"servant":"@s1","name":"s1","disk":{"level":"high","used_percent":90,"free_bytes":100}}
  15 instance.placed {"instance":"i2","app":"shop","process":"web","release":1,"servant":"@s1","ports":{"admin":20003,"http":20002}}
  verdict: "committed"

# What cannot be.
> report s1 servant.measure-disk {"servant":"00000000-0000-0000-0000-0000000000ff","disk":{"level":"normal","used_percent":1,"free_bytes":1}}
  verdict: {"refused":{"code":"invalid","field":"servant","rule":"@s1 cannot speak for the servant 00000000-0000-0000-0000-0000000000ff","fix":"report under the id of the sender"}}
> report s1 servant.measure-disk {"servant":"@s1","disk":{"level":"normal","used_percent":101,"free_bytes":1}}
  verdict: {"refused":{"code":"invalid","field":"disk.used_percent","rule":"is 101; at most 100","fix":"measure again"}}
