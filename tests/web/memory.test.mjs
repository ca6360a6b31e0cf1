// What the page remembers, in a storage of the test: `node --test tests/web/*.test.mjs`.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Memory } from '../../src/web/memory.js';

function storage() {
  const map = new Map();
  return { getItem: (key) => map.get(key) ?? null, setItem: (key, value) => void map.set(key, value) };
}

test('a list that was emptied is a list', () => {
  const memory = new Memory(storage);
  assert.equal(memory.names('rooms'), null);
  memory.add_name('rooms', 'lobby');
  memory.remove_name('rooms', 'lobby');
  assert.deepEqual(memory.names('rooms'), []);
  for (const [stored, names] of [['{}', null], ['nonsense', null], ['["a",1,null]', ['a']]]) {
    memory.set('rooms', stored);
    assert.deepEqual(memory.names('rooms'), names);
  }
});

test('two tabs change one list', () => {
  const shared = storage();
  const [one, other] = [new Memory(() => shared), new Memory(() => shared)];
  one.add_name('rooms', 'lobby');
  other.add_name('rooms', 'garden');
  one.add_name('rooms', 'kitchen');
  one.add_name('rooms', 'lobby');
  other.remove_name('rooms', 'garden');
  assert.deepEqual(one.names('rooms'), ['lobby', 'kitchen']);
});

test('without a storage, or a full one, nothing is kept and nothing breaks', () => {
  const none = new Memory(() => {
    throw new Error('not in this window');
  });
  const full = new Memory(() => ({ ...storage(), setItem: () => {
    throw new Error('full');
  } }));
  for (const memory of [none, full]) {
    memory.add_name('rooms', 'lobby');
    assert.equal(memory.names('rooms'), null);
  }
});
