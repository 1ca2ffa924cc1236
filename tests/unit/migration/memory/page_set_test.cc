#include "migration/memory/page_set.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <utility>
#include <vector>

namespace homeport::migration {
namespace {

using Model = std::set<std::pair<std::uint32_t, std::uint64_t>>;

Model contents(const PageSet& pages) {
  Model model;
  pages.for_each_run([&](const PageRun& run) {
    for (std::uint64_t page = run.first; page < run.end(); ++page) model.insert({run.block, page});
  });
  return model;
}

PageRun random_run(std::mt19937& random, const PageSet& pages) {
  auto block = static_cast<std::uint32_t>(random() % pages.blocks());
  std::uint64_t first = random() % pages.pages(block);
  std::uint64_t longest = pages.pages(block) - first;
  return {block, first, 1 + random() % (random() % 2 == 0 ? longest : std::min(longest, 70ul))};
}

TEST(PageSet, BehavesLikeASetOfPages) {
  for (unsigned seed = 0; seed < 50; ++seed) {
    std::mt19937 random(seed);
    PageSet pages({1, 64, 65, 1000, 128});
    Model model;
    for (int step = 0; step < 100; ++step) {
      PageRun run = random_run(random, pages);
      bool insert = random() % 2 == 0;
      insert ? pages.insert(run) : pages.erase(run);
      for (std::uint64_t page = run.first; page < run.end(); ++page) {
        insert ? (void)model.insert({run.block, page}) : (void)model.erase({run.block, page});
      }
      ASSERT_EQ(pages.count(), model.size());
      ASSERT_EQ(contents(pages), model);
      std::uint64_t page = random() % pages.pages(run.block);
      ASSERT_EQ(pages.contains(run.block, page), model.contains({run.block, page}));
    }
  }
}

TEST(PageSet, UnitesAndSubtracts) {
  std::mt19937 random(1);
  for (int round = 0; round < 100; ++round) {
    PageSet a({300, 70});
    PageSet b({300, 70});
    for (int i = 0; i < 5; ++i) {
      a.insert(random_run(random, a));
      b.insert(random_run(random, b));
    }
    Model united = contents(a);
    Model rest = contents(a);
    for (const auto& page : contents(b)) {
      united.insert(page);
      rest.erase(page);
    }
    PageSet sum = a;
    sum |= b;
    EXPECT_EQ(contents(sum), united);
    EXPECT_EQ(sum.count(), united.size());
    a -= b;
    EXPECT_EQ(contents(a), rest);
    EXPECT_EQ(a.count(), rest.size());
  }
}

TEST(PageSet, RunsAreMaximalUnlessLimited) {
  PageSet pages({200, 10});
  pages.insert({0, 60, 80});
  pages.insert({0, 199, 1});
  pages.insert({1, 0, 10});
  EXPECT_EQ(pages.next_run(0, 0), (PageRun{0, 60, 80}));
  EXPECT_EQ(pages.next_run(0, 100), (PageRun{0, 100, 40}));
  EXPECT_EQ(pages.next_run(0, 0, 7), (PageRun{0, 60, 7}));
  EXPECT_EQ(pages.next_run(0, 140), (PageRun{0, 199, 1}));
  EXPECT_EQ(pages.next_run(0, 200), (PageRun{1, 0, 10}));  // runs do not cross blocks
  EXPECT_EQ(pages.next_run(1, 10), std::nullopt);
}

TEST(PageSet, AllAndNothing) {
  PageSet pages({1, 64, 100});
  EXPECT_TRUE(pages.empty());
  pages.insert_all();
  EXPECT_EQ(pages.count(), 165u);
  pages.clear();
  EXPECT_TRUE(pages.empty());
  EXPECT_EQ(pages.next_run(0, 0), std::nullopt);
}

}  // namespace
}  // namespace homeport::migration
