;; The pages of a slot's memory that differ from a base memory. Pages are 4096 bytes, lines 64.
;; From page $baseEnd on the base counts as zeros. A record in scratch: page number (u32), zero (u32),
;; one bit per line that differs (u64), then those lines.
(module
  (import "env" "memory" (memory $slot 1 65536))
  (import "env" "base" (memory $base 1 65536))
  (import "env" "scratch" (memory $scratch 1 65536))

  ;; Packs pages [$page, $to) that differ into scratch from $out on. Stops before a record could pass
  ;; $limit. Answers the next page (low half) and the end of what was written (high half).
  (func (export "pack") (param $page i32) (param $to i32) (param $baseEnd i32) (param $out i32) (param $limit i32) (result i64)
    (local $at i32) (local $end i32) (local $bits i64) (local $record i32)
    (block $done (loop $pages
      (br_if $done (i32.ge_u (local.get $page) (local.get $to)))
      (br_if $done (i32.gt_u (i32.add (local.get $out) (i32.const 4112)) (local.get $limit)))
      (local.set $at (i32.shl (local.get $page) (i32.const 12)))
      (local.set $end (i32.add (local.get $at) (i32.const 4096)))
      (block $same (block $differs
      (if (i32.ge_u (local.get $page) (local.get $baseEnd)) (then 
      (loop $blocks
        (v128.load $slot offset=0 (local.get $at))
        (v128.load $slot offset=16 (local.get $at)) v128.or
        (v128.load $slot offset=32 (local.get $at)) v128.or
        (v128.load $slot offset=48 (local.get $at)) v128.or
        (v128.load $slot offset=64 (local.get $at)) v128.or
        (v128.load $slot offset=80 (local.get $at)) v128.or
        (v128.load $slot offset=96 (local.get $at)) v128.or
        (v128.load $slot offset=112 (local.get $at)) v128.or
        (br_if $differs (v128.any_true))
        (local.set $at (i32.add (local.get $at) (i32.const 128)))
        (br_if $blocks (i32.lt_u (local.get $at) (local.get $end))))
      (br $same)))
      (loop $blocks
        (v128.xor (v128.load $slot offset=0 (local.get $at)) (v128.load $base offset=0 (local.get $at)))
        (v128.xor (v128.load $slot offset=16 (local.get $at)) (v128.load $base offset=16 (local.get $at))) v128.or
        (v128.xor (v128.load $slot offset=32 (local.get $at)) (v128.load $base offset=32 (local.get $at))) v128.or
        (v128.xor (v128.load $slot offset=48 (local.get $at)) (v128.load $base offset=48 (local.get $at))) v128.or
        (v128.xor (v128.load $slot offset=64 (local.get $at)) (v128.load $base offset=64 (local.get $at))) v128.or
        (v128.xor (v128.load $slot offset=80 (local.get $at)) (v128.load $base offset=80 (local.get $at))) v128.or
        (v128.xor (v128.load $slot offset=96 (local.get $at)) (v128.load $base offset=96 (local.get $at))) v128.or
        (v128.xor (v128.load $slot offset=112 (local.get $at)) (v128.load $base offset=112 (local.get $at))) v128.or
        (br_if $differs (v128.any_true))
        (local.set $at (i32.add (local.get $at) (i32.const 128)))
        (br_if $blocks (i32.lt_u (local.get $at) (local.get $end))))
      (br $same))
      ;; Everything before $at is the same.
      (local.set $record (local.get $out))
      (local.set $out (i32.add (local.get $out) (i32.const 16)))
      (local.set $bits (i64.const 0))
      (if (i32.ge_u (local.get $page) (local.get $baseEnd)) (then 
      (loop $lines
        (v128.load $slot offset=0 (local.get $at))
        (v128.load $slot offset=16 (local.get $at)) v128.or
        (v128.load $slot offset=32 (local.get $at)) v128.or
        (v128.load $slot offset=48 (local.get $at)) v128.or
        (if (v128.any_true) (then
        (local.set $bits (i64.or (local.get $bits)
          (i64.shl (i64.const 1) (i64.extend_i32_u (i32.shr_u (i32.and (local.get $at) (i32.const 4032)) (i32.const 6))))))
        (v128.store $scratch offset=0 (local.get $out) (v128.load $slot offset=0 (local.get $at)))
        (v128.store $scratch offset=16 (local.get $out) (v128.load $slot offset=16 (local.get $at)))
        (v128.store $scratch offset=32 (local.get $out) (v128.load $slot offset=32 (local.get $at)))
        (v128.store $scratch offset=48 (local.get $out) (v128.load $slot offset=48 (local.get $at)))
        (local.set $out (i32.add (local.get $out) (i32.const 64)))))
        (local.set $at (i32.add (local.get $at) (i32.const 64)))
        (br_if $lines (i32.lt_u (local.get $at) (local.get $end)))))
      (else 
      (loop $lines
        (v128.xor (v128.load $slot offset=0 (local.get $at)) (v128.load $base offset=0 (local.get $at)))
        (v128.xor (v128.load $slot offset=16 (local.get $at)) (v128.load $base offset=16 (local.get $at))) v128.or
        (v128.xor (v128.load $slot offset=32 (local.get $at)) (v128.load $base offset=32 (local.get $at))) v128.or
        (v128.xor (v128.load $slot offset=48 (local.get $at)) (v128.load $base offset=48 (local.get $at))) v128.or
        (if (v128.any_true) (then
        (local.set $bits (i64.or (local.get $bits)
          (i64.shl (i64.const 1) (i64.extend_i32_u (i32.shr_u (i32.and (local.get $at) (i32.const 4032)) (i32.const 6))))))
        (v128.store $scratch offset=0 (local.get $out) (v128.load $slot offset=0 (local.get $at)))
        (v128.store $scratch offset=16 (local.get $out) (v128.load $slot offset=16 (local.get $at)))
        (v128.store $scratch offset=32 (local.get $out) (v128.load $slot offset=32 (local.get $at)))
        (v128.store $scratch offset=48 (local.get $out) (v128.load $slot offset=48 (local.get $at)))
        (local.set $out (i32.add (local.get $out) (i32.const 64)))))
        (local.set $at (i32.add (local.get $at) (i32.const 64)))
        (br_if $lines (i32.lt_u (local.get $at) (local.get $end))))))
      (i32.store $scratch (local.get $record) (local.get $page))
      (i32.store $scratch offset=4 (local.get $record) (i32.const 0))
      (i64.store $scratch offset=8 (local.get $record) (local.get $bits)))
      (local.set $page (i32.add (local.get $page) (i32.const 1)))
      (br $pages)))
    (i64.or (i64.extend_i32_u (local.get $page)) (i64.shl (i64.extend_i32_u (local.get $out)) (i64.const 32))))

  ;; Writes the lines of the records in scratch [$at, $end) into the slot.
  (func (export "apply") (param $at i32) (param $end i32)
    (local $page i32) (local $line i32) (local $bits i64)
    (block $done (loop $records
      (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
      (local.set $page (i32.shl (i32.load $scratch (local.get $at)) (i32.const 12)))
      (local.set $bits (i64.load $scratch offset=8 (local.get $at)))
      (local.set $at (i32.add (local.get $at) (i32.const 16)))
      (loop $lines
        (local.set $line (i32.add (local.get $page) (i32.shl (i32.wrap_i64 (i64.ctz (local.get $bits))) (i32.const 6))))
        (v128.store $slot offset=0 (local.get $line) (v128.load $scratch offset=0 (local.get $at)))
        (v128.store $slot offset=16 (local.get $line) (v128.load $scratch offset=16 (local.get $at)))
        (v128.store $slot offset=32 (local.get $line) (v128.load $scratch offset=32 (local.get $at)))
        (v128.store $slot offset=48 (local.get $line) (v128.load $scratch offset=48 (local.get $at)))
        (local.set $at (i32.add (local.get $at) (i32.const 64)))
        (local.set $bits (i64.and (local.get $bits) (i64.sub (local.get $bits) (i64.const 1))))
        (br_if $lines (i64.ne (local.get $bits) (i64.const 0))))
      (br $records))))

  ;; Puts the base's lines back where the records in scratch [$at, $end) have theirs.
  (func (export "undo") (param $at i32) (param $end i32) (param $baseEnd i32)
    (local $page i32) (local $line i32) (local $bits i64)
    (block $done (loop $records
      (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
      (local.set $page (i32.shl (i32.load $scratch (local.get $at)) (i32.const 12)))
      (local.set $bits (i64.load $scratch offset=8 (local.get $at)))
      (local.set $at (i32.add (local.get $at) (i32.const 16)))
      (loop $lines
        (local.set $line (i32.add (local.get $page) (i32.shl (i32.wrap_i64 (i64.ctz (local.get $bits))) (i32.const 6))))
        (if (i32.lt_u (local.get $line) (i32.shl (local.get $baseEnd) (i32.const 12)))
        (then (v128.store $slot offset=0 (local.get $line) (v128.load $base offset=0 (local.get $line)))
        (v128.store $slot offset=16 (local.get $line) (v128.load $base offset=16 (local.get $line)))
        (v128.store $slot offset=32 (local.get $line) (v128.load $base offset=32 (local.get $line)))
        (v128.store $slot offset=48 (local.get $line) (v128.load $base offset=48 (local.get $line))))
        (else (memory.fill $slot (local.get $line) (i32.const 0) (i32.const 64))))
        (local.set $at (i32.add (local.get $at) (i32.const 64)))
        (local.set $bits (i64.and (local.get $bits) (i64.sub (local.get $bits) (i64.const 1))))
        (br_if $lines (i64.ne (local.get $bits) (i64.const 0))))
      (br $records))))

  ;; Counts pages of [$page, $to) that differ from the base; makes them equal to it if $mend.
  (func (export "revert") (param $page i32) (param $to i32) (param $baseEnd i32) (param $mend i32) (result i32)
    (local $at i32) (local $end i32) (local $count i32)
    (block $done (loop $pages
      (br_if $done (i32.ge_u (local.get $page) (local.get $to)))
      (local.set $at (i32.shl (local.get $page) (i32.const 12)))
      (local.set $end (i32.add (local.get $at) (i32.const 4096)))
      (block $same (block $differs
      (if (i32.ge_u (local.get $page) (local.get $baseEnd)) (then 
      (loop $blocks
        (v128.load $slot offset=0 (local.get $at))
        (v128.load $slot offset=16 (local.get $at)) v128.or
        (v128.load $slot offset=32 (local.get $at)) v128.or
        (v128.load $slot offset=48 (local.get $at)) v128.or
        (v128.load $slot offset=64 (local.get $at)) v128.or
        (v128.load $slot offset=80 (local.get $at)) v128.or
        (v128.load $slot offset=96 (local.get $at)) v128.or
        (v128.load $slot offset=112 (local.get $at)) v128.or
        (br_if $differs (v128.any_true))
        (local.set $at (i32.add (local.get $at) (i32.const 128)))
        (br_if $blocks (i32.lt_u (local.get $at) (local.get $end))))
      (br $same)))
      (loop $blocks
        (v128.xor (v128.load $slot offset=0 (local.get $at)) (v128.load $base offset=0 (local.get $at)))
        (v128.xor (v128.load $slot offset=16 (local.get $at)) (v128.load $base offset=16 (local.get $at))) v128.or
        (v128.xor (v128.load $slot offset=32 (local.get $at)) (v128.load $base offset=32 (local.get $at))) v128.or
        (v128.xor (v128.load $slot offset=48 (local.get $at)) (v128.load $base offset=48 (local.get $at))) v128.or
        (v128.xor (v128.load $slot offset=64 (local.get $at)) (v128.load $base offset=64 (local.get $at))) v128.or
        (v128.xor (v128.load $slot offset=80 (local.get $at)) (v128.load $base offset=80 (local.get $at))) v128.or
        (v128.xor (v128.load $slot offset=96 (local.get $at)) (v128.load $base offset=96 (local.get $at))) v128.or
        (v128.xor (v128.load $slot offset=112 (local.get $at)) (v128.load $base offset=112 (local.get $at))) v128.or
        (br_if $differs (v128.any_true))
        (local.set $at (i32.add (local.get $at) (i32.const 128)))
        (br_if $blocks (i32.lt_u (local.get $at) (local.get $end))))
      (br $same))
      (local.set $count (i32.add (local.get $count) (i32.const 1)))
      (if (local.get $mend) (then
        (local.set $at (i32.sub (local.get $end) (i32.const 4096)))
        (if (i32.lt_u (local.get $page) (local.get $baseEnd))
          (then (memory.copy $slot $base (local.get $at) (local.get $at) (i32.const 4096)))
          (else (memory.fill $slot (local.get $at) (i32.const 0) (i32.const 4096)))))))
      (local.set $page (i32.add (local.get $page) (i32.const 1)))
      (br $pages)))
    (local.get $count))

  ;; Empties pages [$page, $to) of the slot.
  (func (export "clear") (param $page i32) (param $to i32)
    (memory.fill $slot
      (i32.shl (local.get $page) (i32.const 12))
      (i32.const 0)
      (i32.shl (i32.sub (local.get $to) (local.get $page)) (i32.const 12)))))
