import { type AddressInfo, type Server, createServer } from 'node:net';
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import {
  type Reply,
  ReplyError,
  callRedis,
  connectRedis,
  createReplyDecoder,
  encodeCommand,
} from './resp.ts';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

/** Answers each piece that arrives with these bytes. */
async function startAnswering(bytes: string): Promise<number> {
  const server = createServer((socket) => socket.on('data', () => socket.write(bytes)).on('error', () => {}));
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

function encodeReply(reply: Reply): string {
  if (reply === null) return '$-1\r\n';
  if (typeof reply === 'number') return `:${reply}\r\n`;
  if (typeof reply === 'string') return `$${Buffer.byteLength(reply)}\r\n${reply}\r\n`;
  if (reply instanceof ReplyError) return `-${reply.message}\r\n`;
  return `*${reply.length}\r\n${reply.map(encodeReply).join('')}`;
}

const { reply: any_reply } = fc.letrec<{ reply: Reply }>((tie) => ({
  reply: fc.oneof(
    { maxDepth: 3 },
    fc.constantFrom<Reply>(null, new ReplyError('ERR no'), '', '\r\n', '$-1\r\n'),
    fc.string({ unit: 'binary' }),
    fc.maxSafeInteger(),
    fc.array(tie('reply'), { maxLength: 4 }),
  ),
}));

describe('redis’s wire format', () => {
  test('a command is an array of bulk strings, counted in bytes', () => {
    const command = encodeCommand(['SET', 'ü', 1, Buffer.from([0xff, 0x0d])]);
    expect(command.toString('latin1')).toBe(
      '*4\r\n$3\r\nSET\r\n$2\r\n\xc3\xbc\r\n$1\r\n1\r\n$2\r\n\xff\r\r\n',
    );
  });

  test('replies are the same in whatever pieces they arrive', () => {
    fc.assert(
      fc.property(fc.array(any_reply, { maxLength: 4 }), fc.integer({ min: 1, max: 9 }), (replies, size) => {
        const bytes = Buffer.from(replies.map(encodeReply).join(''));
        const decode = createReplyDecoder();
        const decoded: Reply[] = [];
        for (let at = 0; at < bytes.length; at += size)
          decoded.push(...decode(bytes.subarray(at, at + size)));
        expect(decoded).toEqual(replies);
      }),
    );
  });

  test('simple strings, null arrays and what is no reply', () => {
    expect(createReplyDecoder()(Buffer.from('+OK\r\n*-1\r\n*0\r\n'))).toEqual(['OK', null, []]);
    expect(() => createReplyDecoder()(Buffer.from('HTTP/1.1 200\r\n'))).toThrow('not RESP2');
  });
});

describe('a connection', () => {
  test('rejects what the server refuses, and goes on', async () => {
    const port = await startAnswering('-READONLY no\r\n');
    const { call, close } = await connectRedis({ port });
    await expect(call('SET', 'a', 1)).rejects.toThrow(new ReplyError('READONLY no'));
    await expect(call('SET', 'a', 1)).rejects.toBeInstanceOf(ReplyError);
    close();
    await expect(call('PING')).rejects.toThrow('has ended');
  });

  test('answers calls in their order', async () => {
    const port = await startAnswering(':1\r\n:2\r\n');
    const { call, close } = await connectRedis({ port });
    expect(await Promise.all([call('A'), call('B')])).toEqual([1, 2]);
    close();
  });

  test('rejects what is not answered in time, and what is no reply', async () => {
    const silent = await connectRedis({ port: await startAnswering('') }, 50);
    await expect(silent.call('PING')).rejects.toThrow('PING: no reply within 50 ms');
    await expect(callRedis({ port: await startAnswering('HTTP\r\n') }, ['PING'])).rejects.toThrow(
      'not RESP2',
    );
  });
});
