(module
  (import "env" "memory" (memory 1 65536))
  (func (export "clear") (param $at i32) (param $to i32) (result i32)
    (local $end i32) (local $cleared i32)
    (block $done
      (loop $pages
        (br_if $done (i32.ge_u (local.get $at) (local.get $to)))
        (local.set $end (i32.add (local.get $at) (i32.const 4096)))
        (block $next
          (block $dirty
            (loop $lines
        (v128.load offset=0 (local.get $at))
        (v128.load offset=16 (local.get $at)) v128.or
        (v128.load offset=32 (local.get $at)) v128.or
        (v128.load offset=48 (local.get $at)) v128.or
        (v128.load offset=64 (local.get $at)) v128.or
        (v128.load offset=80 (local.get $at)) v128.or
        (v128.load offset=96 (local.get $at)) v128.or
        (v128.load offset=112 (local.get $at)) v128.or
        (br_if $dirty (v128.any_true))
              (local.set $at (i32.add (local.get $at) (i32.const 128)))
              (br_if $lines (i32.lt_u (local.get $at) (local.get $end))))
            (br $next))
          (memory.fill (i32.sub (local.get $end) (i32.const 4096)) (i32.const 0) (i32.const 4096))
          (local.set $cleared (i32.add (local.get $cleared) (i32.const 1)))
          (local.set $at (local.get $end)))
        (br $pages)))
    (local.get $cleared)))
