/** The bare route that the check is compared with: Fastify, answering the same headers to whatever comes. */
import fastify from 'fastify';

const headers = JSON.parse(process.argv[2]!) as Record<string, string>;
const server = fastify();
server.get('/envoy/*', (_request, reply) => reply.code(200).headers(headers).send());
process.stdout.write(`${await server.listen({ host: '127.0.0.1', port: 0 })}\n`);
