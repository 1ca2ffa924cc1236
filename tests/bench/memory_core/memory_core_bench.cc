// How fast the pure parts of a memory transfer are, in bytes of guest memory per second.
#include "migration/memory/page_ledger.h"
#include "migration/memory/page_store.h"
#include "migration/memory/zero_page.h"

#include <benchmark/benchmark.h>
#include <xxhash.h>

#include <cstdint>
#include <random>
#include <vector>

namespace homeport::migration {
namespace {

constexpr std::uint64_t kPages = 16384;  // 64 MiB, more than the caches hold

enum Content : std::int64_t { zeros, data, half };

std::vector<std::byte> make_memory(std::int64_t content) {
  std::vector<std::byte> memory(kPages * kPageSize);
  std::mt19937 random(1);
  for (std::uint64_t page = 0; page < kPages; ++page) {
    if (content == data || (content == half && random() % 2 == 0)) {
      memory[page * kPageSize + random() % 64] = std::byte{1};
    }
  }
  return memory;
}

void count_bytes(benchmark::State& state) {
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(kPages * kPageSize));
}

void BM_ZeroCheck(benchmark::State& state) {
  auto memory = make_memory(state.range(0));
  for (auto step : state) {
    std::uint64_t found = 0;
    for (std::uint64_t page = 0; page < kPages; ++page) {
      found += is_zero_page(memory.data() + page * kPageSize) ? 1 : 0;
    }
    benchmark::DoNotOptimize(found);
  }
  count_bytes(state);
}
BENCHMARK(BM_ZeroCheck)->ArgName("content")->Arg(zeros)->Arg(data);

void BM_Hash(benchmark::State& state) {
  auto memory = make_memory(data);
  for (auto step : state) {
    for (std::uint64_t page = 0; page < kPages; ++page) {
      benchmark::DoNotOptimize(XXH3_64bits(memory.data() + page * kPageSize, kPageSize));
    }
  }
  count_bytes(state);
}
BENCHMARK(BM_Hash);

// Scan to batches, the content not touched further: what the source adds to sending.
void BM_Ledger(benchmark::State& state) {
  auto memory = make_memory(state.range(0));
  PageLedger ledger({memory}, {.pinned_io = state.range(1) != 0});
  PageSet all = ledger.empty_set();
  all.insert_all();
  for (auto step : state) {
    ledger.note_scan(all);
    ledger.begin_round();
    while (auto batch = ledger.next_batch()) benchmark::DoNotOptimize(batch->payload.data());
  }
  count_bytes(state);
}
BENCHMARK(BM_Ledger)
    ->ArgNames({"content", "pinned_io"})
    ->ArgsProduct({{zeros, data, half}, {0, 1}});

void BM_Recheck(benchmark::State& state) {
  auto memory = make_memory(data);
  PageLedger ledger({memory}, {.pinned_io = true});
  PageSet all = ledger.empty_set();
  all.insert_all();
  for (auto step : state) {
    state.PauseTiming();
    ledger.note_scan(all);
    ledger.begin_round();
    while (ledger.next_batch()) {
    }
    state.ResumeTiming();
    ledger.note_barrier();
    ledger.recheck();
  }
  count_bytes(state);
}
BENCHMARK(BM_Recheck);

void BM_Store(benchmark::State& state) {
  auto memory = make_memory(state.range(0));
  std::vector<std::byte> target(memory.size());
  PageLedger ledger({memory}, {});
  PageStore store({{target, {}}});
  PageSet all = ledger.empty_set();
  all.insert_all();
  for (auto step : state) {
    state.PauseTiming();
    ledger.note_scan(all);
    ledger.begin_round();
    std::vector<OutgoingBatch> batches;
    while (auto batch = ledger.next_batch()) batches.push_back(std::move(*batch));
    state.ResumeTiming();
    for (const OutgoingBatch& batch : batches) {
      auto applied = store.apply(batch.header, batch.payload);
      benchmark::DoNotOptimize(applied);
    }
  }
  count_bytes(state);
}
BENCHMARK(BM_Store)->ArgName("content")->Arg(zeros)->Arg(data)->Arg(half);

}  // namespace
}  // namespace homeport::migration
