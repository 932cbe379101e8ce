# Images: held by the kingdom, or built by one servant for all.

> servant a 20000-20003 docker=20.10.24
  1 servant.joined {"domain":"default","facts":{"servant":"@a","name":"a","capabilities":{"docker":"20.10.24"},"ports":{"first":20000,"last":20003},"cpus":2,"memory_bytes":1073741824,"boot":"boot-1"}}
  verdict: "committed"
> servant b 20000-20003 docker=20.10.24
  2 servant.joined {"domain":"default","facts":{"servant":"@b","name":"b","capabilities":{"docker":"20.10.24"},"ports":{"first":20000,"last":20003},"cpus":2,"memory_bytes":1073741824,"boot":"boot-1"}}
  verdict: "committed"
> servant c 20000-20003 node=20.2.0
  3 servant.joined {"domain":"default","facts":{"servant":"@c","name":"c","capabilities":{"node":"20.2.0"},"ports":{"first":20000,"last":20003},"cpus":2,"memory_bytes":1073741824,"boot":"boot-1"}}
  verdict: "committed"
> command c1 app.create {"app":"shop"}
  4 app.created {"app":"shop"}
  5 command.accepted {"id":"c1","command":"app.create"}
> command c2 version.publish {"app":"shop","version":"1.0.0","archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"web":{"image":"shop/web:1"},"job":{"image":{"build":"Dockerfile"},"count":3}}}}
  6 version.published {"app":"shop","version":"1.0.0","commit":null,"archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"job":{"image":{"build":"Dockerfile"},"count":3,"restart":"always","stop_grace_ms":10000},"web":{"image":"shop/web:1","count":1,"restart":"always","stop_grace_ms":10000}}}}
  7 command.accepted {"id":"c2","command":"version.publish"}

# What is held when a release is made is what it runs, whatever comes later; and only where an engine is.
> command c3 app.add-image {"app":"shop","image":"shop/web:1","archive":"0000000000000000000000000000000000000000000000000000000000000002","bytes":7}
  8 app.image-added {"app":"shop","image":"shop/web:1","archive":"0000000000000000000000000000000000000000000000000000000000000002","bytes":7}
  9 command.accepted {"id":"c3","command":"app.add-image"}
> command c4 app.deploy {"app":"shop","version":"1.0.0"}
  10 release.created {"app":"shop","release":1,"version":"1.0.0","environments":{"job":{},"web":{}},"images":{"web":"0000000000000000000000000000000000000000000000000000000000000002"}}
  11 app.deployed {"app":"shop","release":1,"counts":{"job":3,"web":1}}
  12 instance.placed {"instance":"i1","app":"shop","process":"job","release":1,"servant":"@a","ports":{}}
  13 instance.placed {"instance":"i2","app":"shop","process":"job","release":1,"servant":"@b","ports":{}}
  14 instance.placed {"instance":"i3","app":"shop","process":"job","release":1,"servant":"@a","ports":{}}
  15 instance.placed {"instance":"i4","app":"shop","process":"web","release":1,"servant":"@b","ports":{}}
  16 command.accepted {"id":"c4","command":"app.deploy","release":1}

# The servant with the first instance builds; the other waits.
> assignment a
  run i1 shop/job release 1 ports  image "awaited"
  run i3 shop/job release 1 ports  image "awaited"
> assignment b
  run i4 shop/web release 1 ports  image {"held":"0000000000000000000000000000000000000000000000000000000000000002"}
  run i2 shop/job release 1 ports  image {"build":"Dockerfile"}
> assignment c

# The same again is no news; another image under the same name is refused.
> command c5 app.add-image {"app":"shop","image":"shop/web:1","archive":"0000000000000000000000000000000000000000000000000000000000000002","bytes":7}
  17 command.accepted {"id":"c5","command":"app.add-image"}
> command c6 app.add-image {"app":"shop","image":"shop/web:1","archive":"0000000000000000000000000000000000000000000000000000000000000003","bytes":7}
  18 command.refused {"id":"c6","command":"app.add-image","refusal":{"code":"conflict","field":"image","rule":"shop/web:1 is the image 0000000000000000000000000000000000000000000000000000000000000002, and an image never changes","fix":"add it under another tag"}}
> command c7 app.add-image {"app":"blog","image":"shop/web:1","archive":"0000000000000000000000000000000000000000000000000000000000000003","bytes":7}
  19 command.refused {"id":"c7","command":"app.add-image","refusal":{"code":"unknown","field":"app","rule":"there is no app \"blog\"","fix":"push it with Git to /git/blog.git, or see `kingctl app ls`"}}

# The builder is given up: the other builds.
> report b instance.failed {"instance":"i2","stage":"build","reason":"no such file"}
  20 instance.failed {"instance":"i2","stage":"build","reason":"no such file"}
  verdict: "committed"
> assignment a
  run i1 shop/job release 1 ports  image {"build":"Dockerfile"}
  run i3 shop/job release 1 ports  image {"build":"Dockerfile"}
> assignment b
  run i4 shop/web release 1 ports  image {"held":"0000000000000000000000000000000000000000000000000000000000000002"}
  run i2 shop/job release 1 ports  image "awaited"

# Built once, it is held for all, and what is built beside it is of no use.
> report a instance.image-built {"instance":"i1","dockerfile":"Dockerfile","image":"0000000000000000000000000000000000000000000000000000000000000004","bytes":9}
  21 version.image-built {"app":"shop","version":"1.0.0","dockerfile":"Dockerfile","image":"0000000000000000000000000000000000000000000000000000000000000004","bytes":9,"instance":"i1"}
  verdict: "committed"
> report b instance.image-built {"instance":"i2","dockerfile":"Dockerfile","image":"0000000000000000000000000000000000000000000000000000000000000005","bytes":9}
  verdict: "redundant"
> report b instance.image-built {"instance":"i2","dockerfile":"other","image":"0000000000000000000000000000000000000000000000000000000000000005","bytes":9}
  verdict: "redundant"
> assignment a
  run i1 shop/job release 1 ports  image {"held":"0000000000000000000000000000000000000000000000000000000000000004"}
  run i3 shop/job release 1 ports  image {"held":"0000000000000000000000000000000000000000000000000000000000000004"}
> assignment b
  run i4 shop/web release 1 ports  image {"held":"0000000000000000000000000000000000000000000000000000000000000002"}
  run i2 shop/job release 1 ports  image {"held":"0000000000000000000000000000000000000000000000000000000000000004"}
